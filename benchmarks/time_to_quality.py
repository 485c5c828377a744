"""How long it takes to find a good network: `nas search` beside the search that a user would write without it.

The other way (benchmarks/usual_search.py): torchvision transforms in a DataLoader, fp32, Optuna's TPE with its own
constraint and MedianPruner, as many processes. Both search the same space on the same images and cores for as long, one
after the other. Each way's best network so far, whenever it changed, is then trained anew, with one recipe and a seed
of its own, and judged on images that neither search had: the time to an accuracy is that at which the network that was
the best by then reaches it.

Everything is kept in --out: the same command goes on where it was ended, and begins a search anew that was cut off.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import Figures, parser, say, show, space_named
from optuna.trial import FrozenTrial, TrialState
from usual_search import Job, open_study

from nas.data.load import SearchData, load_search_data
from nas.errors import UserError
from nas.machine.folders import WorkFolder, write_atomically
from nas.machine.process import default_workers, parse_seconds, pick_device
from nas.network.folds import cost
from nas.network.layers import Layer
from nas.network.serial import fingerprint, to_json
from nas.search.notes import read_notes
from nas.search.options import SearchOptions
from nas.search.search import run_folder
from nas.search.studies import open_studies, studied
from nas.space.budget import Budget, parse_count
from nas.space.designs import default_within
from nas.training.recipes import RECIPES, recipe_for
from nas.training.several import train_all
from nas.training.training import Training, training_folder
from nas.training.worker import run_test

WAYS = ("usual", "nas")
HELD_OUT_SEED, RETRAINED_SEED = 10_007, 20_011
STEPS = (0.0, 0.01, 0.02, 0.04)
"""How far below the other way's last accuracy are the accuracies whose times are told, unless they are given."""

DECIDING = ("dataset", "held_out", "space", "budget", "max_macs", "strategy", "trials", "epochs", "seconds", "seed",
            "processes", "device", "loaders", "usual_start")  # fmt: skip
"""What decides a search: --out holds searches of one kind alone."""


def begin(asked: argparse.Namespace) -> None:
    """Writes the data: the images that are searched, and as test split those held out. Raises UserError for a folder of
    other settings."""
    out = Path(asked.out)
    out.mkdir(parents=True, exist_ok=True)
    settings = {name: getattr(asked, name) for name in DECIDING}
    file = out / "settings.json"
    if file.exists() and json.loads(file.read_text()) != settings:
        raise UserError(f"{out} holds searches of other settings; repeat their command or give --out another folder")
    if not file.exists():
        whole = load_search_data(asked.dataset, seed=HELD_OUT_SEED, validation_share=asked.held_out)
        train, held = whole.train, whole.validation
        np.savez(out / "data.npz", x_train=train.images, y_train=train.labels, x_test=held.images, y_test=held.labels)
        write_atomically(file, json.dumps(settings, indent=1))


def leg(asked: argparse.Namespace, way: str, seed: int) -> Figures:
    """What one search came to: its trials, and its best networks with the seconds at which they were found."""
    file = Path(asked.out) / f"{way}-{seed}.json"
    if not file.exists():
        place = file.with_suffix("")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        say(f"{way}, seed {seed}: searches for {asked.seconds:,.0f} s")
        started = time.time()
        search = {"usual": usual_search, "nas": nas_search}[way]
        write_atomically(file, json.dumps(search(asked, seed, place, started), indent=1))
    found: Figures = json.loads(file.read_text())
    return found


def usual_search(asked: argparse.Namespace, seed: int, place: Path, started: float) -> Figures:
    """Runs the processes of the other way until the time is over."""
    dataset = str(Path(asked.out) / "data.npz")
    data = load_search_data(dataset, seed=seed)
    epochs = asked.epochs or recipe_for(len(data.train.labels)).epochs
    journal = str(place / "journal.log")
    job = Job(journal, dataset, asked.space, asked.budget, asked.max_macs, epochs, seed, asked.device, asked.loaders)
    study, space = open_study(job), space_named(asked.space, data.shape, data.classes)
    if asked.usual_start:
        study.enqueue_trial(dict(default_within(space, Budget(asked.budget, asked.max_macs))))
    script = str(Path(__file__).with_name("usual_search.py"))
    jobs = [replace(job, slot=slot).text() for slot in range(asked.processes)]
    processes = [subprocess.Popen([sys.executable, script, text], stdin=subprocess.PIPE) for text in jobs]
    try:
        for process in processes:
            process.wait(max(0.0, started + asked.seconds - time.time()))
            raise RuntimeError(f"a process of the usual search has ended with code {process.returncode}")
    except subprocess.TimeoutExpired:
        if any(process.poll() is not None for process in processes):
            raise RuntimeError("a process of the usual search has ended before its time") from None
    finally:
        for process in processes:
            process.kill()
            process.wait()
    trials = study.get_trials(deepcopy=False)
    over = sum(max(trial.constraints.values(), default=0.0) > 0 for trial in trials)
    trained = [
        (trial, space.network(trial.params))
        for trial in trials
        if trial.state == TrialState.COMPLETE and max(trial.constraints.values()) <= 0
    ]
    counts = {"trials": len(trials) - over, "over_budget": over, "trained_in_full": len(trained)}
    return counts | {"best": best_so_far(trained, data, started, asked.seconds)}


def nas_search(asked: argparse.Namespace, seed: int, place: Path, started: float) -> Figures:
    """Runs the command until the time is over, or its trials are done."""
    flags = {
        "dataset": Path(asked.out) / "data.npz", "space": asked.space, "budget": asked.budget,
        "max-macs": asked.max_macs, "strategies": asked.strategy, "trials": asked.trials, "epochs": asked.epochs,
        "seed": seed, "device": asked.device, "workers": asked.processes, "time-limit": asked.seconds,
        "out": place / "run",
    }  # fmt: skip
    words = [word for name, value in flags.items() if value is not None for word in (f"--{name}", str(value))]
    with open(place / "log", "wb") as log:
        done = subprocess.run([sys.executable, "-m", "nas.cli", "search", *words], stdout=log, stderr=log)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"nas search ended with code {done.returncode}; see {place / 'log'}")
    folder = run_folder(place / "run")
    search = folder.read()
    data = load_search_data(search.dataset, seed=seed)
    space = space_named(asked.space, data.shape, data.classes)
    trained, trials = [], 0
    for (strategy, budget), study in open_studies(search, folder, None).items():
        own = [trial for trial in study.get_trials(deepcopy=False) if read_notes(trial).continues is None]
        trials += sum(read_notes(trial).is_original for trial in own)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if read_notes(trial).is_original and not read_notes(trial).stopped:
                trained.append((trial, studied(search, space, strategy, budget).network(trial.params)))
    counts = {"trials": trials, "over_budget": 0, "trained_in_full": len(trained)}
    return counts | {"best": best_so_far(trained, data, started, asked.seconds)}


def best_so_far(
    trained: Sequence[tuple[FrozenTrial, Layer]], data: SearchData, started: float, limit: float
) -> list[Figures]:
    """The networks that were the best observed when they were found, in the order of time, within the limit."""
    best: list[Figures] = []
    ended = [
        (t.datetime_complete.timestamp() - started, t.value, network) for t, network in trained if t.datetime_complete
    ]
    for when, value, network in sorted(ended, key=lambda each: each[0]):
        if value is not None and when <= limit and (not best or value > best[-1]["observed"]):
            counted = cost(network, data.shape)
            best.append(
                {
                    "seconds": round(when, 1),
                    "observed": value,
                    "parameters": counted.parameters,
                    "macs": counted.macs,
                    "fingerprint": fingerprint(network, data.shape),
                    "network": to_json(network),
                }
            )
    return best


def retrain(asked: argparse.Namespace, seed: int, legs: dict[str, Figures]) -> dict[str, float]:
    """Accuracies on the images held out, by fingerprint, of each network that was a way's best."""
    data = load_search_data(str(Path(asked.out) / "data.npz"), seed=RETRAINED_SEED + seed)
    recipe = replace(RECIPES["final"].for_images(len(data.train.labels)), epochs=asked.retrain_epochs)
    folders: dict[str, WorkFolder[Training]] = {}
    for best in (each for found in legs.values() for each in found["best"]):
        name = best["fingerprint"]
        folder = training_folder(Path(asked.out) / "retrained" / f"{name}-{asked.retrain_epochs}-{seed}")
        folder.enter(
            Training(
                model=name,
                network=best["network"],
                dataset=str((Path(asked.out) / "data.npz").resolve()),
                data_checksum=data.checksum,
                image_size=None,
                validation_share=None,
                images=None,
                recipe=recipe,
                seed=RETRAINED_SEED + seed,
            )
        )
        folders[name] = folder
    torch.set_num_threads(asked.processes)
    failed = train_all(list(folders.values()), workers=asked.processes, device=asked.device)
    kept = {name: folder for name, folder in folders.items() if folder.path not in failed}
    accuracies = {name: run_test(folder, pick_device(asked.device, 0)).test_accuracy for name, folder in kept.items()}
    say(f"seed {seed}: trained {len(kept)} networks anew, {len(failed)} failed")
    return {name: accuracies.get(name) or 0.0 for name in folders}


def curve(found: Figures, retrained: dict[str, float]) -> list[Figures]:
    """The best network whenever it changed: seconds, what was observed of it, what it came to when trained anew."""
    return [
        {name: best[name] for name in ("seconds", "observed", "parameters", "macs")}
        | {"retrained": round(retrained[best["fingerprint"]], 4)}
        for best in found["best"]
    ]


def reached(found: Sequence[Figures], accuracy: float | None) -> float | None:
    """Seconds after which the best network, trained anew, had that accuracy; None if it never had."""
    return next((at["seconds"] for at in found if accuracy is not None and at["retrained"] >= accuracy), None)


def compared(curves: dict[str, list[Figures]], given: Sequence[float]) -> list[Figures]:
    """The times to each accuracy (None where the usual way, which would name it, found nothing) and their ratio."""
    last = curves["usual"][-1]["retrained"] if curves["usual"] else None
    named = {f"usual's last - {step}": None if last is None else round(last - step, 4) for step in STEPS}
    rows = []
    for label, accuracy in ({str(accuracy): accuracy for accuracy in given} or named).items():
        times = {way: reached(curves[way], accuracy) for way in WAYS}
        usual, own = times["usual"], times["nas"]
        ratio = round(usual / own, 2) if usual is not None and own else None
        rows.append({"label": label, "accuracy": accuracy, **times, "ratio": ratio})
    return rows


def repeat(asked: argparse.Namespace, seed: int, given: Sequence[float]) -> Figures:
    """One search of each way, the first to go in turn, and what their networks came to."""
    legs = {way: leg(asked, way, seed) for way in WAYS[:: -1 if seed % 2 else 1]}
    retrained = retrain(asked, seed, legs)
    curves = {way: curve(legs[way], retrained) for way in WAYS}
    counts = {way: {name: count for name, count in legs[way].items() if name != "best"} for way in WAYS}
    shown = {way: counts[way] | {"curve": curves[way]} for way in WAYS}
    return {"seed": seed, **shown, "times": compared(curves, given)}


def summary(repeats: Sequence[Figures]) -> list[Figures]:
    """Of each accuracy: the ratios of all repeats, their median, and how often each way came there."""
    rows: list[Figures] = []
    for same in zip(*(one["times"] for one in repeats), strict=True):
        ratios = [row["ratio"] for row in same if row["ratio"] is not None]
        came: dict[str, Any] = {f"reached_by_{way}": sum(row[way] is not None for row in same) for way in WAYS}
        median = statistics.median(ratios) if ratios else None
        rows.append({"label": same[0]["label"], "n": len(same), **came, "ratios": ratios, "median_ratio": median})
    return rows


def arguments() -> argparse.ArgumentParser:
    """What the command line takes."""
    asks = parser(
        __doc__, "python benchmarks/time_to_quality.py --dataset digits --budget 3K --seconds 60 --out /tmp/quality"
    )
    asks.add_argument("--out", required=True, help="work folder")
    asks.add_argument("--dataset", default="cifar100", help="images (default: %(default)s)")
    asks.add_argument("--held-out", type=float, default=0.1, help="share that no search sees (default: %(default)s)")
    asks.add_argument("--space", default="mixed", help="search space (default: %(default)s)")
    asks.add_argument("--budget", type=parse_count, default=10_000, help="parameters (default: %(default)s)")
    asks.add_argument("--max-macs", type=parse_count, help="multiply-adds (default: no cap)")
    asks.add_argument("--strategy", help="of nas search, one or several with commas (default: its own)")
    asks.add_argument("--trials", type=int, default=200, help="of nas search, a strategy (default: %(default)s)")
    asks.add_argument("--epochs", type=int, help="a trial (default: what nas search takes)")
    asks.add_argument("--seconds", type=parse_seconds, default=7_200.0, help="a search (2h; default: %(default)s s)")
    asks.add_argument("--retrain-epochs", type=int, default=12, help="of a best network (default: %(default)s)")
    asks.add_argument("--accuracies", help="whose times are told, 0-1 (default: by the usual way's last)")
    asks.add_argument("--repeats", type=int, default=1, help="searches of each way (default: %(default)s)")
    asks.add_argument("--seed", type=int, default=0, help="of the first (default: %(default)s)")
    asks.add_argument("--processes", type=int, help="of each search (default: one a GPU, or one a core)")
    asks.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    asks.add_argument("--loaders", type=int, help="processes of each DataLoader (default: 0, on a GPU up to 8)")
    asks.add_argument("--usual-start", action="store_true", help="the usual search begins with the fitted default")
    return asks


def main() -> int:
    """Prints curves and times as JSON."""
    asked = arguments().parse_args()
    asked.processes = asked.processes or default_workers(asked.device)
    asked.strategy = asked.strategy or ",".join(SearchOptions(budget=1).strategies)
    on_gpu = asked.device != "cpu" and torch.cuda.is_available()
    if asked.loaders is None:
        asked.loaders = min(8, len(os.sched_getaffinity(0)) // asked.processes) if on_gpu else 0
    given = [float(accuracy) for accuracy in asked.accuracies.split(",")] if asked.accuracies else []
    try:
        begin(asked)
    except UserError as error:
        say(str(error))
        return 2
    repeats = [repeat(asked, seed, given) for seed in range(asked.seed, asked.seed + asked.repeats)]
    settings = {name: getattr(asked, name) for name in DECIDING} | {"retrain_epochs": asked.retrain_epochs}
    show(settings | {"repeats": repeats, "summary": summary(repeats)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
