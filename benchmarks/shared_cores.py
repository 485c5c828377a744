"""Images a second of one training of two threads, and of two such at once on the same cores: what somebody gets who
trains beside another command. Threads spin as long as libgomp has them, or as long as those of our processes do.
"""

import os
import statistics
from unittest import mock

from machine import parser, show
from throughput import images_per_second
from throughput_process import NETWORKS, Job

from nas.machine.pool import WAITING

SPINNING = {"GOMP_SPINCOUNT": "300000"}
"""What libgomp does where nothing is said: gcc.gnu.org/onlinedocs/libgomp, GOMP_SPINCOUNT."""


def main() -> None:
    """Prints the rates as JSON; those of two are of both together."""
    options = parser(__doc__, "python benchmarks/shared_cores.py --network default@10K")
    options.add_argument("--network", choices=NETWORKS, default="default@10K")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--steps", type=int, default=10)
    asked = options.parse_args()
    job = Job("ours", asked.network, steps=asked.steps, warmup=2, threads=asked.threads)
    ways = {"spinning": SPINNING, "ours": WAITING}
    rates: dict[str, dict[str, list[float]]] = {way: {"one": [], "two": []} for way in ways}
    for _ in range(asked.rounds):
        for way, environment in ways.items():
            with mock.patch.dict(os.environ, environment):
                rates[way]["one"].append(images_per_second(job, 1))
                rates[way]["two"].append(images_per_second(job, 2))
    show(
        {
            "options": vars(asked),
            "images_a_second": {
                way: {of: round(statistics.median(each)) for of, each in found.items()} for way, found in rates.items()
            },
        }
    )


if __name__ == "__main__":
    main()
