"""What a person sees of networks, spaces and trainings, as text and tables for a terminal."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from nas.machine.options import described
from nas.network.folds import Row
from nas.results.words import counted, duration, interval_text, layer_text, option_text, sparkline, times, with_spread

if TYPE_CHECKING:
    from nas.network.folds import Cost
    from nas.network.vision import ModuleCost
    from nas.results.table import Line
    from nas.space.space import Knob
    from nas.space.survey import Survey
    from nas.training.recipe import Recipe
    from nas.training.training import Metrics


def plain_table(*names: str, left: Collection[str] = (), style: str = "dim") -> Table:
    """Columns without a frame, flush right but those named in `left`, that are never broken."""
    table = Table(box=None, pad_edge=False, header_style=style)
    for name in names:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return table


def layer_table(rows: Iterable[Row]) -> Table:
    """One row a layer: where it lies, what it is, output shape, parameters, multiply-adds."""
    listed = list(rows)
    table = Table(box=None, pad_edge=False, header_style="bold", show_footer=True)
    table.add_column("part", footer="total")
    table.add_column("layer")
    table.add_column("output", justify="right")
    table.add_column("parameters", justify="right", footer=f"{sum(row.parameters for row in listed):,}")
    table.add_column("multiply-adds", justify="right", footer=f"{sum(row.macs for row in listed):,}")
    for row in listed:
        table.add_row(
            " / ".join(row.path),
            layer_text(row.layer),
            "×".join(map(str, row.output)),
            f"{row.parameters:,}" if row.parameters else "",
            f"{row.macs:,}" if row.macs else "",
        )
    return table


def module_table(found: "ModuleCost") -> Table:
    """One row a module that has parameters."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_footer=True)
    table.add_column("part", footer="total")
    table.add_column("module", footer=f"{found.macs:,} multiply-adds")
    table.add_column("parameters", justify="right", footer=f"{found.parameters:,}")
    for row in found.rows:
        if row.parameters:
            table.add_row(row.path, row.kind, f"{row.parameters:,}")
    return table


def model_table(models: Iterable[Mapping[str, Any]]) -> Table:
    """The fixed models: sizes and published test accuracies."""
    words = ("model", "system", "images", "published")
    table = plain_table("model", "system", "parameters", "multiply-adds", "images", "published", left=words)
    for model in models:
        table.add_row(
            model["name"],
            model["system"],
            f"{model['parameters']:,}",
            f"{model['macs']:,}",
            "×".join(map(str, model["shape"])),
            f"{100 * model['published_accuracy']:.2f} % {model['dataset']}",
        )
    return table


def recipe_table(recipe: "Recipe") -> Table:
    """The options of a recipe and what they mean."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("option", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("meaning")
    for name, (_, about) in described(recipe).items():
        table.add_row(name, option_text(getattr(recipe, name)), about.meaning)
    return table


def recipes_table(recipes: "Mapping[str, Recipe]") -> Table:
    """Every recipe by the options in which it differs from the first, as --set takes them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("recipe", no_wrap=True)
    table.add_column("options", no_wrap=False)
    first = next(iter(recipes.values()))
    for name, recipe in recipes.items():
        changes = [
            f"{option.name}={option_text(getattr(recipe, option.name))}"
            for option in fields(recipe)
            if recipe is first or getattr(recipe, option.name) != getattr(first, option.name)
        ]
        table.add_row(name, " ".join(changes))
    return table


def training_line(metrics: "Metrics", epochs: int) -> str:
    """An epoch in a line."""
    epoch = metrics.epochs[-1]
    return (
        f"epoch {epoch.epoch}/{epochs}: training loss {_loss(epoch.train_loss)}, validation loss "
        f"{_loss(epoch.validation_loss)}, accuracy {100 * epoch.validation_accuracy:.2f} %, {duration(epoch.seconds)}"
    )


def _loss(nats: float) -> str:
    """Three decimals; of what has exploded the order alone."""
    return f"{nats:.3f}" if nats < 1_000 else f"{nats:.0e}"


def training_summary(metrics: "Metrics") -> str:
    """What a training came to, in a few lines."""
    lines = [
        f"{metrics.model}: {metrics.parameters:,} parameters, {metrics.macs:,} multiply-adds, "
        f"{counted(len(metrics.epochs), 'epoch')} in {duration(metrics.seconds)}",
        f"validation accuracy {100 * metrics.accuracy:.2f} % "
        f"{sparkline([epoch.validation_accuracy for epoch in metrics.epochs])}",
    ]
    if metrics.test_accuracy is not None:
        lines.append(
            f"test accuracy {100 * metrics.test_accuracy:.2f} % (the test split was read {times(metrics.test_reads)})"
        )
    return "\n".join(lines)


def contest_table(lines: "Sequence[Line]") -> Table:
    """Trainings side by side. Accuracies are per cent; from two seeds on, standard deviations."""
    from nas.results.table import COLUMNS, line_cells

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        if column == "model":
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right", no_wrap=True)
    for line in lines:
        cells = line_cells(line)
        table.add_row(*map(escape, cells if line.trainings else [*cells[:-1], "failed"]))
    return table


def failure_lines(lines: "Sequence[Line]") -> list[Text]:
    """Why trainings of each line failed, every reason once."""
    return [
        Text.assemble((f"{line.label} failed: ", "bold red"), reason)
        for line in lines
        for reason in dict.fromkeys(line.failures)
    ]


def scaling_table(found: Mapping[str, Any]) -> RenderableType:
    """The best networks of each budget, and how each measure of their shape moves with the parameters."""
    measured = ("depth", "width ratio", "kernel", "halvings", "drop position")
    networks = plain_table("budget", "parameters", "accuracy", *measured)
    for one in found["networks"]:
        measures = [f"{one[name]:.2f}" for name in ("width_ratio", "kernel", "halvings", "drop_position")]
        networks.add_row(
            f"{one['budget']:,}",
            f"{one['parameters']:,}",
            f"{100 * one['accuracy']:.2f}%",
            f"{one['depth']}",
            *measures,
        )
    law_table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("measure", "slope", "95 % interval", "law"):
        law_table.add_column(name, justify="left" if name in ("measure", "law") else "right")
    for law in found["laws"]:
        interval = interval_text(law["low"], law["high"], scale=1)
        slope = "" if law["slope"] is None else f"{law['slope']:.2f}"
        law_table.add_row(law["measure"].replace("_", " "), slope, interval, law["verdict"])
    legend = (
        "depth: convolutions and linear layers on the longest path; width ratio: channels of the last convolution over "
        "those of the first; kernel: mean over kernels above 1 × 1; halvings: of the resolution; drop position: their "
        "mean place, 0 at the first and 1 at the last convolution. N is the number of parameters."
    )
    return Group(networks, "", law_table, "", Text(legend, style="dim"))


def confirmed_table(content: Mapping[str, Any]) -> RenderableType:
    """The networks that were trained in full: validation and test accuracies over the seeds, and how often the test
    split was read."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("network", overflow="fold")
    for name in ("budget", "parameters", "searched", "validation", "test", "95 % interval", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in content["networks"]:
        test, validation = entry["test"], entry["validation"]
        interval = interval_text(test["low"], test["high"]) if test else ""
        fate = f", dropped: {entry['dropped']}" if entry["dropped"] else ""
        fate += "".join(f", failed: {failure}" for failure in entry["failures"])
        table.add_row(
            escape(entry["label"] + fate),
            f"{entry['budget']:,}",
            f"{entry['parameters']:,}",
            with_spread(entry["searched"], None),
            _measured(validation),
            _measured(test),
            interval,
            f"{validation['n']}" if validation else "0",
        )
    reads = content["test_reads"]
    return Group(
        table, Text(f"accuracies in per cent; the test split was read {times(reads)} by this run", style="dim")
    )


def _measured(summary: Mapping[str, Any] | None) -> str:
    return with_spread(summary["mean"], summary["deviation"]) if summary else ""


def survey_table(found: "Survey") -> RenderableType:
    """The survey for people."""
    knobs = Table(box=None, pad_edge=False, header_style="bold", title=f"space {found.space}", title_justify="left")
    knobs.add_column("knob")
    knobs.add_column("role", style="dim")
    knobs.add_column("options")
    for knob in found.knobs:
        knobs.add_row(knob.name, knob.role, _options_text(knob))
    sizes = plain_table("network", "parameters", "multiply-adds", left=("network",), style="bold")
    for name in ("smallest", "median", "largest"):
        cost: Cost = getattr(found, name)
        sizes.add_row(name, f"{cost.parameters:,}", f"{cost.macs:,}")
    about = "" if found.distinct_is_exact else "about "
    lines = [
        f"images {'×'.join(map(str, found.shape))}, {found.classes} classes",
        f"{found.settings:.3g} knob settings, {about}{found.distinct_networks:.3g} distinct networks",
    ]
    if found.budget:
        answer = "can" if found.satisfiable else "cannot"
        lines += [
            f"budget {found.budget}: {found.share_feasible:.3%} of {found.draws:,} uniform draws feasible; "
            f"the budget {answer} be met"
        ]
    return Group(knobs, "", sizes, "", *lines)


def _options_text(knob: "Knob") -> str:
    """The options, the middle of a long list left out."""
    shown = [str(option) for option in knob.options]
    return " ".join(shown if len(shown) <= 10 else [*shown[:4], "…", *shown[-3:], f"({len(shown)})"])
