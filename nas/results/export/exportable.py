"""Networks with their weights, where searches and trainings have left them."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.data.load import SearchData
from nas.errors import RunError, UserError
from nas.machine.checkpoint import shapes
from nas.machine.folders import WorkFolder, read_settings
from nas.machine.options import described, words
from nas.network.layers import Layer, with_dropout
from nas.network.modules.module import to_module
from nas.results.confirming.confirmed import best_confirmed
from nas.results.confirming.content import read_confirmed
from nas.results.export.card import Measured, ModelCard
from nas.results.export.measuring import Sample, preprocessing_of, sample_of
from nas.results.networks import run_of
from nas.results.options import ExportOptions, FormatOptions
from nas.results.trainings import training_command
from nas.results.words import counted, times, with_spread
from nas.search.result.front import Front, FrontNetwork, read_front
from nas.search.search import Search, weights_file
from nas.search.studies import load_data_of
from nas.space.named import Torchvision, from_stored
from nas.training.distillation.teacher import teachers_in_words
from nas.training.recipe import Recipe, recipe_values
from nas.training.train import trained_weights
from nas.training.training import (
    Training,
    check,
    is_finished,
    load_data,
    read_metrics,
    read_state,
    read_weights,
    training_folder,
)


@dataclass(frozen=True, eq=False)
class Exportable:
    """A network, its trained weights, a state_dict of `nas.network.modules.module.to_module(network)`, and what is
    known of it. `origin` says in words where the weights come from; `sample` holds images of its data set. Raises
    RunError for weights of another network, or that hold what is no number."""

    network: Layer
    weights: dict[str, Tensor]
    card: ModelCard
    origin: str
    sample: Sample | None = None

    def __post_init__(self) -> None:
        if shapes(to_module(self.network).state_dict()) != shapes(self.weights):
            raise RunError(f"{self.origin}: they are of another network than the one told beside them; train it again")
        if not all(torch.isfinite(value).all() for value in self.weights.values()):
            raise RunError(f"{self.origin}: they hold values that are no numbers; train it again")


def exportables(source: Path, budgets: tuple[int, ...] | None = None) -> dict[str, Exportable]:
    """What a source holds, by the name of the folder that each goes to: of a search (its run folder or pareto.json) the
    best network within each budget, named by it (default: the run's own budgets); of a training its network, unnamed.
    Where the run was confirmed, the best network is the confirmed one with the lowest mean validation log-loss, and
    its weights are those of its best seed.

    Raises RunError where there is none or no weights, UserError for a budget that nothing meets, DataError if the data
    set is gone or has changed.
    """
    if not source.exists():
        raise RunError(
            f"there is no {source}; give the run folder of a search, its pareto.json, or a training's folder"
        )
    if source.is_dir() and not (source / "pareto.json").exists() and _is_training(source):
        if budgets:
            raise UserError(f"{source} is a training of one network; leave out --budget")
        return {"": _of_training(training_folder(source))}
    return _of_run(source, budgets)


def _is_training(folder: Path) -> bool:
    try:
        return "network" in (read_settings(folder) or {})
    except RunError:
        return False


def _of_run(source: Path, budgets: tuple[int, ...] | None) -> dict[str, Exportable]:
    front = read_front(source)
    if (folder := run_of(source)) is None:
        raise RunError(
            f"{source} lies alone, without the weights of its run; train a network of it, "
            f"`nas train {source} --select N --recipe final`, and export that folder"
        )
    search = folder.read()
    confirmed = read_confirmed(folder.path)
    result: dict[str, Exportable] = {}
    found: dict[int, FrontNetwork] = {}
    for budget in budgets or _own_budgets(source, front):
        within = (e for e in confirmed["networks"] if e["parameters"] <= budget) if confirmed else ()
        if confirmed and (entry := best_confirmed(within)):
            result[str(budget)] = _of_confirmed(folder, search, confirmed, entry, budget)
        else:
            found[budget] = _best(source, front, budget)
    if not found:
        return result
    weights = {best.network: _run_weights(folder, best.network) for best in found.values()}
    data = load_data_of(search, folder)
    for budget, best in found.items():
        card = _searched(source, search, data, front, best, budget)
        origin = f"weights of the search, {search.epochs} epochs; `nas confirm` trains it in full"
        result[str(budget)] = Exportable(best.layers, weights[best.network], card, origin, sample_of(data))
    return result


def _of_confirmed(
    folder: WorkFolder[Search], search: Search, confirmed: dict[str, Any], entry: dict[str, Any], budget: int
) -> Exportable:
    """The best seed's weights, or the first's of those trained on all images; accuracies are those of all seeds."""
    whole = entry.get("all_images")
    told, which = (whole, "the first seed") if whole else (entry, "the seed with the best validation accuracy")
    training = _of_training(training_folder(folder.path / told["best"]))
    measured: list[Measured] = []
    for own in training.card.measured:
        values = tuple(told[own.split]["values"]) if told[own.split] else own.values
        seeds = f"Over {len(values)} seeds; the weights are those of {which}." if len(values) > 1 else "Of one seed."
        notes = []
        if not measured:  # the same of every split
            notes.append(seeds)
            if whole:
                notes.append("All training images were used, those set aside for validation among them.")
        if own.split == "test":
            notes.append(f"The test split was read {times(confirmed['test_reads'])} by this run.")
        measured.append(replace(own, values=values, note=" ".join(notes)))
    commands = (search.command(folder.path), *confirmed["commands"], _command(folder.path, budget))
    card = replace(training.card, measured=tuple(measured), commands=commands, teacher=entry.get("teacher") or "")
    origin = f"confirmed, weights of {Path(told['best']).name}"
    if test := told["test"]:
        mean = with_spread(test["mean"], test["deviation"], unit=" %")
        origin += f"; {mean} on the test split over {counted(test['n'], 'seed')}"
    if entry["default_of"]:
        origin = f"the space's default, than which nothing that was found is better; {origin}"
        card = replace(card, found="It is the space's default: no network that the search found was better in full.")
    return replace(training, card=card, origin=origin)


def _own_budgets(source: Path, front: Front) -> list[int]:
    budgets = [budget for budget in front.search.budgets if front.best(budget)]
    if not budgets:
        raise RunError(f"{source} has not trained a network to the end yet; there is nothing to export")
    return budgets


def _best(source: Path, front: Front, budget: int) -> FrontNetwork:
    best = front.best(budget)
    if best is None:
        has = f"none below {front.networks[0].parameters:,}" if front.networks else "no trained network at all"
        raise UserError(f"{source} has no trained network with at most {budget:,} parameters; it has {has}")
    return best


def _run_weights(folder: WorkFolder[Search], network: str) -> dict[str, Tensor]:
    file = weights_file(folder, network)
    if not file.exists():
        raise RunError(
            f"the weights of network {network} are not in {file.parent}; train it, "
            f"`nas train {folder.path} --select {network} --recipe final`, and export that folder"
        )
    return read_state(file, trained_weights, advice="train it again")


def _searched(
    source: Path, search: Search, data: SearchData, front: Front, best: FrontNetwork, budget: int
) -> ModelCard:
    trained = front.counts.trained
    note = f"The search chose among {trained:,} trained networks by validation accuracy: that of the best flatters."
    measured = Measured("validation", (best.validation_accuracy,), len(data.validation.labels), note)
    folder = source if source.is_dir() else source.parent
    return _card(data, search.recipe, 0, [measured], (search.command(folder), _command(source, budget)))


def _of_training(folder: WorkFolder[Training]) -> Exportable:
    training = folder.read()
    network = from_stored(training.network)
    if isinstance(network, Torchvision):
        raise UserError(f"{folder.path} trained torchvision's {network.name}; only networks of layers can be exported")
    if not is_finished(folder):
        raise RunError(f"the training in {folder.path} has not finished; repeat its command first")
    data, recipe, metrics = load_data(training), training.recipe, read_metrics(folder)
    check(training, data)
    measured = []
    if metrics.accuracy is not None:
        measured.append(Measured("validation", (metrics.accuracy,), len(data.validation.labels)))
    if metrics.test_accuracy is not None:
        note = f"The test split was read {times(metrics.test_reads)}."
        measured.append(Measured("test", (metrics.test_accuracy,), None, note))
    commands = training_command(training, len(data.train.labels)), _command(folder.path)
    card = _card(data, recipe, recipe.input_size, measured, commands)
    card = replace(card, teacher=teachers_in_words([training.teacher]))
    network = with_dropout(network, recipe.dropout)
    return Exportable(network, read_weights(folder), card, f"weights of {folder.path}", sample_of(data))


def _card(
    data: SearchData, recipe: Recipe, input_size: int, measured: list[Measured], commands: tuple[str, ...]
) -> ModelCard:
    preprocessing = preprocessing_of(data, input_size)
    values = recipe_values(recipe)
    return ModelCard(data.class_names, preprocessing, data.name, data.checksum, tuple(measured), values, commands)


def told_command(card: ModelCard, asked: FormatOptions) -> ModelCard:
    """The card with the formats that were asked for in the command of the export, which is its last."""
    formats = words(FormatOptions(**{name: getattr(asked, name) for name in described(FormatOptions)}))
    *before, command = card.commands
    if formats:
        command = f"{command.removesuffix(' --to DIR')} {shlex.join(formats)} --to DIR"
    return replace(card, commands=(*before, command))


def _command(source: Path, budget: int | None = None) -> str:
    """The command of the export."""
    return shlex.join(["nas", "export", *words(ExportOptions(source, budget=budget, to="DIR"))])
