"""What a person sees of networks, spaces and trainings, as text and tables for a terminal."""

import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from rich.console import Group, JustifyMethod, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from nas.errors import written_out
from nas.machine.options import described, text
from nas.network.folds import Row
from nas.results.words import (
    about,
    cell,
    counted,
    duration,
    interval_text,
    layer_cells,
    mean_text,
    refusal_lines,
    sparkline,
    times,
    verdict_lines,
    with_spread,
)
from nas.space.caps import CAPS

if TYPE_CHECKING:
    from nas.network.modules.vision import ModuleCost
    from nas.results.table import Line
    from nas.space.space import Knob
    from nas.space.survey import Survey
    from nas.training.recipe import Recipe
    from nas.training.training import Metrics


LATEST = 5
"""Epochs of a training from which the time left is told."""


def plain_table(
    *names: str,
    rows: Iterable[Sequence[Any]],
    left: Collection[str] = (),
    wraps: str = "",
    foot: Sequence[Any] = (),
) -> Table:
    """Rows of cells (see `nas.results.words.cell`) in columns without a frame, flush right but those named in `left`.
    The column that `wraps` gives way in a narrow terminal."""
    table = Table(box=None, pad_edge=False, header_style="dim", show_footer=bool(foot))
    for name, last in zip(names, foot or [""] * len(names), strict=True):
        side: JustifyMethod = "left" if name in left else "right"
        table.add_column(name, cell(last), justify=side, no_wrap=name != wraps, overflow="fold")
    for row in rows:
        table.add_row(*(escape(written_out(cell(value))) for value in row))
    return table


def layer_table(rows: Iterable[Row]) -> Table:
    """One row a layer: where it lies, what it is, output shape, parameters, multiply-adds."""
    listed = list(rows)
    cells = [[value or None for value in layer_cells(row)] for row in listed]
    foot = ("total", "", "", sum(row.parameters for row in listed), sum(row.macs for row in listed))
    names = ("part", "layer", "output", "parameters", "multiply-adds")
    return plain_table(*names, rows=cells, left=("part", "layer"), wraps="layer", foot=foot)


def module_table(found: "ModuleCost") -> Table:
    """One row a module that has parameters."""
    rows = [(row.path, row.kind, row.parameters) for row in found.rows if row.parameters]
    foot = ("total", f"{found.macs:,} multiply-adds", found.parameters)
    return plain_table("part", "module", "parameters", rows=rows, left=("part", "module"), wraps="part", foot=foot)


def model_table(models: Iterable[Mapping[str, Any]]) -> Table:
    """The fixed models: sizes and published test accuracies."""
    rows = [
        (
            *(model[name] for name in ("name", "system", "parameters", "macs")),
            "×".join(map(str, model["shape"])),
            f"{100 * model['published_accuracy']:.2f} % {model['dataset']}",
        )
        for model in models
    ]
    names = ("model", "system", "parameters", "multiply-adds", "images", "published")
    return plain_table(*names, rows=rows, left=("model", "system", "images", "published"))


def recipe_table(recipe: "Recipe") -> Table:
    """The options of a recipe and what they mean."""
    rows = [(name, text(getattr(recipe, name)), about.meaning) for name, (_, about) in described(recipe).items()]
    return plain_table("option", "value", "meaning", rows=rows, left=("option", "meaning"), wraps="meaning")


def recipes_table(recipes: "Mapping[str, Recipe]") -> Table:
    """Every recipe by the options in which it differs from the first, as --set takes them."""
    first = next(iter(recipes.values()))
    rows = []
    for name, recipe in recipes.items():
        values = {option.name: getattr(recipe, option.name) for option in fields(recipe)}
        changes = {n: value for n, value in values.items() if recipe is first or value != getattr(first, n)}
        rows.append((name, " ".join(f"{n}={text(value)}" for n, value in changes.items())))
    return plain_table("recipe", "options", rows=rows, left=("recipe", "options"), wraps="options")


def training_line(metrics: "Metrics", epochs: int, *, alone: bool = True) -> str:
    """An epoch in a line; of a training `alone` with the time that those left will take, as long as the latest."""
    epoch = metrics.epochs[-1]
    left = alone and (epochs - epoch.epoch) * statistics.median(each.seconds for each in metrics.epochs[-LATEST:])
    told = [f"epoch {epoch.epoch}/{epochs}: training loss {_loss(epoch.train_loss)}"]
    if epoch.validation_loss is not None and epoch.validation_accuracy is not None:
        told += [f"validation loss {_loss(epoch.validation_loss)}", f"accuracy {100 * epoch.validation_accuracy:.2f} %"]
    told += [duration(epoch.seconds), *([f"{about(left)} left"] if left else [])]
    return ", ".join(told)


def _loss(nats: float) -> str:
    """Three decimals; of what has exploded the order alone."""
    return f"{nats:.3f}" if nats < 1_000 else f"{nats:.0e}"


def training_summary(metrics: "Metrics") -> str:
    """What a training came to, in a few lines."""
    from nas.training.epoch import validation_accuracies

    lines = [
        f"{metrics.model}: {metrics.parameters:,} parameters, {metrics.macs:,} multiply-adds, "
        f"{counted(len(metrics.epochs), 'epoch')} in {duration(metrics.seconds)}",
        "trained on all images, without validation"
        if metrics.accuracy is None
        else f"validation accuracy {100 * metrics.accuracy:.2f} % {sparkline(validation_accuracies(metrics.epochs))}",
    ]
    if metrics.test_accuracy is not None:
        lines.append(
            f"test accuracy {100 * metrics.test_accuracy:.2f} % (the test split was read {times(metrics.test_reads)})"
        )
    if metrics.teacher:
        lines.append(metrics.teacher.in_words)
    return "\n".join(lines)


def contest_table(lines: "Sequence[Line]") -> Table:
    """Trainings side by side. Accuracies are per cent; from two seeds on, standard deviations."""
    from nas.results.table import COLUMNS, line_cells

    rows = [line_cells(line) if line.trainings else [*line_cells(line)[:-1], "failed"] for line in lines]
    return plain_table(*COLUMNS, rows=rows, left=("model",), wraps="model")


def failure_lines(lines: "Sequence[Line]") -> list[Text]:
    """Why trainings of each line failed, every reason once."""
    return [
        Text.assemble((f"{line.label} failed: ", "bold red"), reason)
        for line in lines
        for reason in dict.fromkeys(line.failures)
    ]


def scaling_table(found: Mapping[str, Any]) -> RenderableType:
    """The best networks of each budget, and how each measure of their shape moves with the parameters."""
    measures = ("width_ratio", "kernel", "halvings", "drop_position")
    networks = [
        (one["budget"], one["parameters"], f"{one['accuracy']:.2%}", one["depth"], *(f"{one[m]:.2f}" for m in measures))
        for one in found["networks"]
    ]
    names = ("budget", "parameters", "accuracy", "depth", *(measure.replace("_", " ") for measure in measures))
    laws = [
        (
            law["measure"].replace("_", " "),
            with_spread(law["slope"], None, scale=1),
            interval_text(law["low"], law["high"], scale=1),
            law["verdict"],
        )
        for law in found["laws"]
    ]
    legend = (
        "depth: convolutions and linear layers on the longest path; width ratio: channels of the last convolution over "
        "those of the first; kernel: mean over kernels above 1 × 1; halvings: of the resolution; drop position: their "
        "mean place, 0 at the first and 1 at the last convolution. N is the number of parameters."
    )
    return Group(
        plain_table(*names, rows=networks),
        "",
        plain_table("measure", "slope", "95 % interval", "law", rows=laws, left=("measure", "law")),
        "",
        Text(legend, style="dim"),
    )


def confirmed_table(content: Mapping[str, Any]) -> RenderableType:
    """The networks that were trained in full: validation and test accuracies over the seeds, and how often the test
    split was read."""
    rows = []
    for entry in content["networks"]:
        test, validation = entry["test"], entry["validation"]
        fate = f", dropped: {entry['dropped']}" if entry["dropped"] else ""
        failed = Counter(entry["failures"]).items()
        fate += "".join(f", {counted(number, 'training')} failed: {reason}" for reason, number in failed)
        rows.append(
            (
                entry["label"] + fate,
                entry["budget"],
                entry["parameters"],
                with_spread(entry["searched"], None),
                mean_text(entry["race"]),
                mean_text(validation),
                mean_text(test),
                interval_text(test["low"], test["high"]) if test else "",
                validation["n"] if validation else 0,
            )
        )
        if whole := entry.get("all_images"):
            test = whole["test"]
            reach = interval_text(test["low"], test["high"]) if test else ""
            sizes, n = (entry["budget"], entry["parameters"]), test["n"] if test else 0
            rows.append((f"{entry['label']}, on all images", *sizes, "", "", "", mean_text(test), reach, n))
    names = ("network", "budget", "parameters", "searched", "race", "validation", "test", "95 % interval", "n")
    told = (
        "accuracies in per cent, in the race of the search's best and, of other seeds, after it; the test split was "
        f"read {times(content['test_reads'])} by this run"
    )
    table = plain_table(*names, rows=rows, left=("network",), wraps="network")
    teachers = dict.fromkeys(entry["teacher"] for entry in content["networks"] if entry.get("teacher"))
    told = "\n".join([told, *teachers])
    return Group(table, Text(told, style="dim"), "", *map(Text, verdict_lines(content)))


def survey_table(found: "Survey") -> RenderableType:
    """The survey for people."""
    rows: list[tuple[Any, ...]] = [(knob.name, knob.role, _options_text(knob)) for knob in found.knobs]
    names = ("knob", "role", "options")
    knobs = plain_table(*names, rows=rows, left=names, wraps="options")
    knobs.title, knobs.title_justify, knobs.columns[1].style = f"space {found.space}", "left", "dim"
    caps = dict(found.budget.caps) if found.budget else {}
    each = [[CAPS[name].brief(sizes[name]) for sizes in (found.smallest, found.median, found.largest)] for name in CAPS]
    at_most = [(CAPS[n].brief(caps[n]), f"{found.shares[n]:.3%}") if n in caps else ("", "") for n in CAPS]
    rows = [(CAPS[name].column(found.numbers), *own, *cap) for name, own, cap in zip(CAPS, each, at_most, strict=True)]
    columns = ("of a network", "smallest", "median", "largest", *(("at most", "of draws") if caps else ()))
    sizes = plain_table(*columns, rows=(row[: len(columns)] for row in rows), left=("of a network",))
    about = "" if found.distinct_is_exact else "about "
    lines = [
        f"images {'×'.join(map(str, found.shape))}, {found.classes} classes",
        f"{found.settings:.3g} knob settings, {about}{found.distinct_networks:.3g} distinct networks",
    ]
    if found.budget:
        lines.append(
            f"budget {found.budget}: {found.share_feasible:.3%} of {found.draws:,} uniform draws feasible; "
            f"the budget {'can' if found.satisfiable else 'cannot'} be met"
        )
    return Group(knobs, "", sizes, "", *lines, *map(Text, refusal_lines(found.refusals, of=found.draws)))


def _options_text(knob: "Knob") -> str:
    """The options, the middle of a long list left out."""
    shown = [str(option) for option in knob.options]
    return " ".join(shown if len(shown) <= 10 else [*shown[:4], "…", *shown[-3:], f"({len(shown)})"])
