"""What can be asked of trainings, tables, confirmations, exports and reports: options of commands and of Python."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from nas.data.options import DataOptions
from nas.errors import UserError
from nas.machine.options import check, option, text, tidy
from nas.machine.process import check_device, patience_option, workers_option
from nas.space.budget import parse_count, parse_counts
from nas.training.recipe import Recipe, changed, parse_changes
from nas.training.recipes import named_recipe

Changes = Mapping[str, Any] | Sequence[str]
"""Changes of a recipe: {"dropout": 0.5}, or ["dropout=0.5"]."""


def _moved_data() -> Any:
    """Where the data of a folder of work lie by now."""
    return option(
        "where the data lie now, if they have moved since; the same data, by their checksum",
        default=None,
        repeats=False,
        metavar="NAME|PATH",
    )


@dataclass(frozen=True)
class NetworkOptions:
    """Which network."""

    model: str = option(
        "a model of `nas models`, torchvision:NAME, scaled:NAME@PARAMETERS, a space (name or .py file), a pareto.json, "
        "or a run folder",
        positional=True,
    )
    knobs: Sequence[str] = option(
        "knobs of a space; the rest stay at defaults",
        default=(),
        positional=True,
        metavar="KNOB=VALUE",
    )
    _: KW_ONLY
    select: str | None = option(
        "which network of a run: most parameters, or the fingerprint (its beginning does) of any that was proposed",
        default=None,
        metavar="FINGERPRINT|N",
    )


@dataclass(frozen=True, kw_only=True)
class SampleOptions(DataOptions):
    """Which images of the data, by which seed."""

    images: int | None = option(
        "training images to use, drawn by class", default=None, unset="all", parse=parse_count, metavar="N"
    )
    seed: int = option("seed of every random choice", default=0, least=0)


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """How networks are trained, and where."""

    recipe: str = option("one of `nas recipes`, or a .toml file", default="final", metavar="NAME|FILE")
    changes: Changes = option(
        "changes of the recipe; lists with commas, augmentation=crop,flip or none or auto",
        default=(),
        flag="set",
        metavar="NAME=VALUE",
        gathers="words",
    )
    epochs: int | None = option("the same as --set epochs=N", default=None)
    teacher: str | Path | None = option(
        "folder of a finished training whose network teaches (knowledge distillation)", default=None, metavar="DIR"
    )
    device: str = option("auto, cpu, cuda or cuda:N", default="auto", repeats=False, metavar="NAME")

    def __post_init__(self) -> None:
        if isinstance(self.changes, Mapping):
            object.__setattr__(self, "changes", tuple(f"{name}={text(to)}" for name, to in self.changes.items()))
        tidy(self)
        check(self)
        check_device(self.device)

    @property
    def all_changes(self) -> dict[str, Any]:
        """The changes of the recipe, those epochs among them. Raises RecipeError, UserError where they contradict each
        other."""
        changes = parse_changes(map(str, self.changes))
        if self.epochs is None:
            return changes
        if changes.get("epochs", self.epochs) != self.epochs:
            raise UserError(f"--epochs says {self.epochs} and --set epochs={changes['epochs']}; leave out one of them")
        return changes | {"epochs": self.epochs}

    def decided(self, images: int) -> Recipe:
        """The recipe for that many training images. Raises RecipeError."""
        return changed(named_recipe(self.recipe, images), self.all_changes)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(RecipeOptions, SampleOptions):
    """What single trainings and tables of them have in common."""

    pretrained: bool = option("begin with ImageNet weights (torchvision's models)", default=False)
    test: bool = option(
        "in the end read the test split, once; the result is kept with the training", default=False, repeats=False
    )


@dataclass(frozen=True)
class TrainOptions(TrainingOptions, NetworkOptions):
    """Everything that can be asked of one training. Raises UserError for what cannot be."""

    _: KW_ONLY
    all_images: bool = option("train on all training images; nothing is set aside for validation", default=False)
    out: str | Path | None = option(
        "folder of the training",
        default=None,
        unset="in trained/, named after the model and the recipe",
        metavar="DIR",
        repeats=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.all_images and self.validation_share is not None:
            raise UserError("--all-images sets nothing aside and --validation-share says how much; leave out one")


@dataclass(frozen=True)
class TableOptions(TrainingOptions):
    """Everything that can be asked of several trainings side by side. Raises UserError for what cannot be."""

    models: Sequence[str] = option(
        'models as of `nas train`, knobs in quotes ("cifar_resnet blocks=9 norm=False"), or folders of trainings',
        default=(),
        positional=True,
        metavar="MODEL",
    )
    _: KW_ONLY
    vary: Sequence[str] = option(
        "train with each of these values of the recipe; several times: with every combination",
        default=(),
        metavar="NAME=V,V",
        gathers="again",
    )
    ladder: str | Path | None = option(
        "train the steps of a .toml file, each with the changes so far", default=None, metavar="FILE"
    )
    seeds: int = option("trainings a line, of different seeds", default=1, least=1)
    on: str | Path | None = option(
        "run with --storage, by folder or address, whose machines train; its data set is that of the trainings",
        default=None,
        metavar="RUN",
        repeats=False,
    )
    workers: int | None = workers_option("training processes of this machine; 0 where others are enough (--on)")
    patience: float = patience_option()
    out: str | Path = option("folder of the trainings", default="trained", metavar="DIR")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.workers == 0 and self.on is None:
            raise UserError("--workers 0 leaves nobody to train; give a worker, or --on RUN, whose machines do")


@dataclass(frozen=True)
class ConfirmOptions(RecipeOptions):
    """Everything that can be asked of a confirmation. Raises UserError for what cannot be."""

    run: str | Path = option("run folder of a search", positional=True)
    _: KW_ONLY
    dataset: str | None = _moved_data()
    front: bool = option("every network of the Pareto front instead of the best few of each budget", default=False)
    top: int | None = option(
        "networks of each budget to race",
        default=None,
        unset="those that cannot be told from the best, 3 to 5",
        least=1,
        metavar="K",
    )
    budget: int | Sequence[int] | None = option(
        "of these budgets alone", default=None, unset="all", least=1, parse=parse_counts, metavar="N[,N…]"
    )
    baselines: bool = option("a ResNet, a MobileNetV2 and a VGG scaled to each budget too", default=True)
    seeds: int = option("trainings of the winner and of the default after the race", default=5, least=1)
    all_images: bool = option(
        "in the end train the best network of each budget anew, as many seeds, on all training images: nothing is set "
        "aside for validation any more",
        default=False,
    )
    teacher: str | Path | None = option(
        "who teaches the others (knowledge distillation): a budget of the run that is confirmed, or the folder of a "
        "finished training",
        default=None,
        metavar="DIR|N",
    )
    workers: int | None = workers_option(
        "training processes of this machine; 0 where others are enough, of a run with --storage"
    )
    patience: float = patience_option()


OPSET = 20
"""Version of ONNX's operators, unless another is asked for."""


@dataclass(frozen=True, kw_only=True)
class FormatOptions:
    """What is written into an exported folder besides what always is, and how."""

    opset: int | None = option("version of ONNX's operators", default=None, unset=str(OPSET), least=18, most=23)
    demo: bool = option("also a page that runs the network in a browser: demo.html", default=False)
    ort_web: str | Path | None = option(
        "folder of the npm package onnxruntime-web, for the demo",
        default=None,
        unset="fetched by npm",
        metavar="DIR",
    )
    numbers: str | None = option(
        "numbers that the network computes in: int8 is quantised by onnxruntime's tools, and comes beside fp32",
        default=None,
        unset="both, where the network can be quantised",
        choices=("fp32", "int8"),
    )
    c: bool = option("also plain C99 that computes in int8, without dependencies: model.c", default=False)
    finetune_epochs: int | None = option(
        "train on for so many epochs with weights and values rounded as in int8 before quantising "
        "(quantisation-aware), and keep what is better on the validation split",
        default=None,
        unset="none",
        least=1,
        metavar="N",
    )

    def __post_init__(self) -> None:
        tidy(self)
        check(self)
        if self.ort_web and not self.demo:
            raise UserError("--ort-web says where the runtime of the demo lies; add --demo, or leave it out")
        if self.c and self.numbers == "fp32":
            raise UserError("--c writes the network in int8 and --numbers fp32 leaves that out; leave out one of them")
        if self.finetune_epochs and self.numbers == "fp32":
            raise UserError(
                "--finetune-epochs is for the network in int8 and --numbers fp32 leaves that out; leave out one of them"
            )


NO_MORE = FormatOptions()
"""Nothing asked for by name."""


@dataclass(frozen=True)
class ExportOptions(FormatOptions):
    """Everything that can be asked of an export."""

    source: str | Path = option("run folder of a search, its pareto.json, or the folder of a training", positional=True)
    _: KW_ONLY
    budget: int | Sequence[int] | None = option(
        "most parameters; of a search the best network within each is exported",
        default=None,
        unset="the budgets of the search",
        least=1,
        parse=parse_counts,
        metavar="N[,N…]",
    )
    to: str | Path = option("folder of the export; of a search the folder of DIR/BUDGET folders", metavar="DIR")
    dataset: str | None = _moved_data()


@dataclass(frozen=True)
class ReportOptions:
    """Everything that can be asked of a report."""

    run: str | Path = option("run folder, or a folder of run folders that differ in their seed", positional=True)
    _: KW_ONLY
    out: str | Path | None = option("the HTML file", default=None, unset="RUN/report.html", metavar="FILE")
    png: str | Path | None = option(
        "write the plots as PNG files too, into this folder (needs Kaleido and Chrome)", default=None, metavar="DIR"
    )

    def __post_init__(self) -> None:
        tidy(self)
        check(self)
