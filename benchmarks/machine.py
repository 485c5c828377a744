"""What every benchmark shares: the machine it ran on, its figures as one JSON object, its argument parser."""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from nas import __version__
from nas.network.layers import Shape
from nas.space.files import named_space
from nas.space.space import Space, bind

Figures = dict[str, Any]


def describe() -> Figures:
    """The processor, its cores, the vector instructions torch uses, and the versions that decide a figure."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "python_loop_ms": _python_loop(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "optuna": version("optuna"),
        "nas": __version__,
        "load": round(os.getloadavg()[0], 1),
    }


def _python_loop() -> int:
    """Milliseconds of a million additions in Python: machines of one name differ threefold."""
    began, total = time.process_time(), 0
    for number in range(1_000_000):
        total += number
    return round(1000 * (time.process_time() - began))


def _processor() -> str:
    """Its name and model number where Linux tells them."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = found.get("model name") or platform.processor() or platform.machine()
    return f"{name}, family {found['cpu family']} model {found['model']}" if "cpu family" in found else name


def parser(description: str | None, example: str) -> argparse.ArgumentParser:
    """A parser whose help ends with an example that works when pasted."""
    return argparse.ArgumentParser(
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def show(figures: Figures) -> None:
    """The figures and the machine as one JSON object on standard output."""
    print(json.dumps(figures | {"machine": describe()}, indent=2))


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def space_named(name: str, shape: Shape, classes: int) -> Space:
    """A shipped search space for such images."""
    return bind(named_space(name), shape, classes)


def one_thread() -> None:
    """For each process of a pool: a process a core, and no threads that wait for each other."""
    torch.set_num_threads(1)
    threadpool_limits(1)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share (0–1) of the values lies: nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float], unit: float = 1.0, digits: int = 1) -> Figures:
    """Median and 95th percentile in the unit, and n."""
    return {
        "median": round(statistics.median(values) / unit, digits),
        "p95": round(percentile(values, 0.95) / unit, digits),
        "n": len(values),
    }


def mean_and_deviation(values: Sequence[float], digits: int = 4) -> Figures:
    """Mean, standard deviation over the sample (0 for one value) and n."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": round(statistics.fmean(values), digits), "sd": round(deviation, digits), "n": len(values)}


def mean_and_error(values: Sequence[float]) -> Figures:
    """Mean and its standard error (0 for one value)."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return {"mean": round(statistics.fmean(values), 4), "sem": round(error, 4)}
