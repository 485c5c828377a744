"""Images a second through our trainer, all workers together, against the script that everyone writes.

Ours: one process a core, one thread each, the workers' allocator settings. Usual: torchvision's PIL transforms in a
DataLoader, fp32, NCHW, torch's own number of threads, SGD; the best of several numbers of loader processes. Both train
the same network on the same number of random images; the two alternate; medians are reported.
"""

import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from machine import Figures, parser, say, show
from throughput_process import CLASSES, NETWORKS, SIDE, Job, network

from nas.machine.pool import ALLOCATOR, WAITING
from nas.network.folds import cost

PROCESS = Path(__file__).with_name("throughput_process.py")


def run_together(job: Job, processes: int) -> list[float]:
    """What each of the processes reports; all of them start when the last one is warm."""
    environment = (ALLOCATOR | WAITING if job.role == "ours" else {}) | os.environ
    running = [
        subprocess.Popen(
            [sys.executable, str(PROCESS), json.dumps(asdict(job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(processes)
    ]
    for process in running:
        _read_line(process)
    for process in running:
        process.stdin.write("go\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    figures = [float(_read_line(process)) for process in running]
    for process in running:
        process.communicate()
    return figures


def _read_line(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline()  # type: ignore[union-attr]
    if not line:
        raise RuntimeError(f"a process ended early with exit code {process.wait()}; its error stands above")
    return line.strip()


def images_per_second(job: Job, processes: int) -> float:
    """All processes together: their images over the seconds of the slowest."""
    return processes * job.steps * job.batch_size / max(run_together(job, processes))


def compare(
    ours: Job, usual: dict[str, Job], processes: int, rounds: int
) -> tuple[list[float], dict[str, list[float]]]:
    """Images a second of each round, ours and usual in turn."""
    own: list[float] = []
    others: dict[str, list[float]] = {name: [] for name in usual}
    for number in range(rounds):
        own.append(images_per_second(ours, processes))
        for name, job in usual.items():
            others[name].append(images_per_second(job, 1))
        best = max(rates[-1] for rates in others.values())
        say(f"round {number + 1}: ours {own[-1]:,.0f}, usual {best:,.0f}, ratio {own[-1] / best:.2f}")
    return own, others


def efficiency(job: Job, rate: float, processes: int, size: int) -> Figures:
    """GFLOP/s of the training (three times two times the multiply-adds of a forward pass), and of matrix products."""
    macs = cost(network(job.network), (3, SIDE, SIDE)).macs
    achieved = 6 * macs * rate / 1e9
    peaks = {role: sum(run_together(Job(role, size=size), processes)) / 1e9 for role in ("fp32", "bf16")}
    return {
        "gflops": round(achieved, 1),
        "peak_gflops": {role: round(peak, 1) for role, peak in peaks.items()},
        "share_of_peak": {role: round(achieved / peak, 3) for role, peak in peaks.items()},
    }


def main() -> int:
    """Prints the comparison as JSON."""
    arguments = parser(__doc__, "python benchmarks/throughput.py --network basic --rounds 3")
    arguments.add_argument("--network", choices=NETWORKS, default="basic", help="default: %(default)s")
    arguments.add_argument("--batch", type=int, default=128, help="images a step (default: %(default)s)")
    arguments.add_argument("--steps", type=int, default=50, help="steps timed a process (default: %(default)s)")
    arguments.add_argument("--warmup", type=int, default=10, help="steps before the clock (default: %(default)s)")
    arguments.add_argument("--rounds", type=int, default=3, help="comparisons (default: %(default)s)")
    arguments.add_argument("--processes", type=int, default=os.cpu_count(), help="ours (default: one a core)")
    arguments.add_argument("--loaders", default="0,1,2", help="usual loader processes tried (default: %(default)s)")
    arguments.add_argument("--size", type=int, default=1024, help="side of the matrices (default: %(default)s)")
    asked = arguments.parse_args()
    ours = Job("ours", asked.network, asked.batch, asked.steps, asked.warmup)
    usual = {
        loaders: Job("usual", asked.network, asked.batch, asked.steps, asked.warmup, int(loaders))
        for loaders in asked.loaders.split(",")
    }
    own, others = compare(ours, usual, asked.processes, asked.rounds)
    rate = statistics.median(own)
    medians = {name: statistics.median(rates) for name, rates in others.items()}
    ratios = [one / max(rates) for one, *rates in zip(own, *others.values(), strict=True)]
    show(
        {
            "network": asked.network,
            "parameters": cost(network(asked.network), (3, SIDE, SIDE)).parameters,
            "classes": CLASSES,
            "batch": asked.batch,
            "rounds": asked.rounds,
            "processes": asked.processes,
            "ours": round(rate),
            "usual": {name: round(median) for name, median in medians.items()},
            "ratio": round(rate / max(medians.values()), 2),
            "ratio_of_each_round": [round(ratio, 2) for ratio in ratios],
            "efficiency": efficiency(ours, rate, asked.processes, asked.size),
        }
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
