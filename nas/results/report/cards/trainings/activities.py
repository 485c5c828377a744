"""The card on where the time of the workers went."""

from collections.abc import Iterable

from nas.machine.timeline import Stretch, spent
from nas.results.pages.markup import table
from nas.results.pages.theme import Card, Figure, View, axis, trace
from nas.results.report.gather import Gathered
from nas.results.words import duration

PLACE = 101

PARTS = 60
"""Parts of the search for which is shown what the workers did."""

MEANINGS = {
    "steps": ("$s0", "training steps"),
    "validation": ("$s2", "judging the validation split"),
    "build": ("$s1", "making a network, or thawing a frozen one"),
    "checkpoint": ("$s3", "saving"),
    "claim": ("$s4", "finding out what to train next, for which workers take turns"),
    "judge": ("$s5", "deciding whether a training goes on"),
    "journal": ("$s6", "noting results"),
    "start": ("$ink", "starting the process, reading the data"),
    "wait": ("$muted", "waiting for what others train"),
    "idle": ("$faint", "having ended before the last worker"),
}
"""Colour and meaning of what a worker does."""


def card(gathered: Gathered) -> Card:
    """Where the time of the workers went."""
    name, heading = "activities", "Where the time went"
    workers = dict(enumerate(own for run in gathered.runs for own in run.timelines.values()))
    if not workers:
        return Card(name, heading, "What the workers did.", empty="No worker has finished a training yet.")
    seconds = spent(workers)
    total = sum(seconds.values())
    sentence = (
        f"What the workers did: <b>{seconds.get('steps', 0.0) / total:.1%}</b> of their time was spent inside training "
        "steps. Trainings that are still running, or whose worker was killed, are not in it."
    )
    rows = [(MEANINGS[each][1], duration(own), f"{own / total:.1%}") for each, own in seconds.items() if own]
    html = table([("", "words"), ("time", "n"), ("share", "n")], rows)
    figures = tuple(_through_the_search(run.search.seed, run.timelines) for run in gathered.runs if run.timelines)
    return Card(name, heading, sentence, (View(figures, html),))


def _through_the_search(seed: int, timelines: dict[int, list[Stretch]]) -> Figure:
    """How many workers did what, in each part of a search. What a worker did for one trial is spread over its time."""
    stretches = [stretch for own in timelines.values() for stretch in own]
    began = min(stretch.began for stretch in stretches)
    width = max(1e-9, max(stretch.ended for stretch in stretches) - began) / PARTS
    middles = [(part + 0.5) * width / 60 for part in range(PARTS)]
    data = [
        trace(meaning, middles, heights, type="bar", width=width / 60, marker={"color": shade, "line": {"width": 0}})
        for activity, (shade, meaning) in MEANINGS.items()
        if any(heights := _shares(activity, stretches, began, width))
    ]
    layout = {
        "barmode": "stack",
        "bargap": 0,
        "xaxis": axis("minutes", rangemode="tozero"),
        "yaxis": axis("workers", rangemode="tozero"),
        "legend": {"font": {"size": 11}},
    }
    return Figure(f"activities-{seed}", "How many workers did what, through the search", data, layout, 380)


def _shares(activity: str, stretches: Iterable[Stretch], began: float, width: float) -> list[float]:
    """The seconds that all workers spent on it in each part, over those of the part."""
    seconds = [0.0] * PARTS
    for stretch in stretches:
        length = stretch.ended - stretch.began
        share = stretch.seconds.get(activity, 0.0) / length if length else 0.0
        first = max(0, int((stretch.began - began) / width))
        for part in range(first, min(PARTS, int((stretch.ended - began) / width) + 1)):
            start, end = began + part * width, began + (part + 1) * width
            seconds[part] += share * max(0.0, min(stretch.ended, end) - max(stretch.began, start))
    return [each / width for each in seconds]
