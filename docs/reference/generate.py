"""Writes the reference from the code: commands.md from `--help`, registries.md from the registries and the options, and
in pareto.schema.json what can be capped of a network.

python docs/reference/generate.py            writes the files
python docs/reference/generate.py --check    exit code 1 if one of them is out of step with the code
"""

import contextlib
import inspect
import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from nas.cli.commands import COMMANDS
from nas.cli.main import main as nas
from nas.data import MANY_IMAGES
from nas.data.augmentations import AUGMENTATIONS
from nas.data.sets import DATA_SETS
from nas.machine.options import Option, bounds, described, text
from nas.network.blocks import BLOCKS
from nas.network.heads import HEADS
from nas.network.layers import KINDS
from nas.results.export.formats import FORMATS
from nas.results.options import ConfirmOptions, ExportOptions, ReportOptions, TableOptions, TrainOptions
from nas.results.report.cards import CARDS
from nas.search.options import SearchOptions
from nas.search.strategies import STRATEGIES
from nas.space.caps import CAPS
from nas.space.designs import DESIGNS
from nas.space.files import load_architecture, shipped_spaces
from nas.space.space import knobs_of
from nas.stopping.rules import RULES
from nas.training.recipe import Recipe
from nas.training.recipes import RECIPES

HERE = Path(__file__).parent
SCHEMA = HERE / "pareto.schema.json"

WIDTH = "100"
"""Columns at which `--help` wraps, whatever the terminal."""

NOTICE = "<!-- Written by docs/reference/generate.py; change the code, then run it again. -->"

OPTIONS = {
    "nas.search": SearchOptions,
    "nas.confirm": ConfirmOptions,
    "nas.report": ReportOptions,
    "nas.train": TrainOptions,
    "nas.table": TableOptions,
    "nas.export": ExportOptions,
}


def commands() -> str:
    """Every command with its `--help`."""
    introduction = (
        "What `--help` prints. JSON goes to stdout, everything for people to stderr. Exit codes: 0 done, 1 ran but has "
        "no answer, 2 wrong use, 130 interrupted."
    )
    asked = [["nas"], *(["nas", name] for name in COMMANDS)]
    parts = [f"## {' '.join(words)}\n\n```text\n{_help(words[1:])}\n```" for words in asked]
    return "\n\n".join([NOTICE, "# Commands", introduction, *parts]) + "\n"


def _help(command: Sequence[str]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        nas([*command, "--help"])
    return printed.getvalue().rstrip()


def registries() -> str:
    """A table for each registry, then one for the options of each function."""
    introduction = (
        "Each line is one entry of a registry; [CONTRIBUTING.md](../../CONTRIBUTING.md) says how to add one. The "
        "functions of Python at the end take the options of the command of their name."
    )
    parts = [section(*about, rows) for about, rows in _tables()]
    for name, kind in OPTIONS.items():
        how = f"The function of `nas {name.partition('.')[2]}`"
        parts.append(section(name, how, FLAG_COLUMNS, map(_argument, *_fields(kind))))
    return "\n\n".join([NOTICE, "# What there is to choose from", introduction, *parts]) + "\n"


def _tables() -> Iterable[tuple[tuple[str, str, Sequence[str]], Iterable[Sequence[str]]]]:
    """Title, how its entries are chosen, columns; and the lines."""
    kinds = "Names for the knobs `kind1` to `kind4` of the space `mixed`"
    layers = "What `network()` of a space is made of: `from nas import Conv`"
    spaces = "Names for `--space`; `nas space NAME` shows the knobs"
    designs = "Names for `scaled:NAME@PARAMETERS`; a search trains them as baselines"
    augmentations = "Names for `--augment` and `--set augmentation=NAME,NAME`"
    recipes = ("name", "what it is", "differs from `search` in", f"below {MANY_IMAGES:,} images")
    options = "Names for `--set NAME=VALUE` and the lines of a `.toml` recipe"
    yield ("Strategies", "Names for `--strategies`", ("name", "how it proposes")), _strategies()
    yield ("Stopping rules", "Names for `--stop`", ("name", "what it does")), _rules()
    yield (
        ("Kinds of block", kinds, ("name", "block")),
        _blocks(),
    )
    yield ("Kinds of head", "Names for the knob `head` of the space `mixed`", ("name", "head")), _heads()
    yield ("Layers", layers, ("name", "arguments", "what it computes")), _layers()
    yield ("Search spaces", spaces, ("name", "knobs", "networks")), _spaces()
    yield ("Caps", "Names for `--max NAME=MOST`", ("name", "what is counted", "written as")), _caps()
    yield ("Scaled designs", designs, ("name", "design")), _designs()
    yield ("Data sets", "Names for `--dataset`", ("name", "images", "augmentation that suits")), _data_sets()
    yield ("Augmentations", augmentations, ("name", "what it does", "images")), _augmentations()
    yield ("Recipes", "Names for `--recipe`", recipes), _recipes()
    yield ("Options of a recipe", options, OPTION_COLUMNS), map(_option, *_fields(Recipe))
    formats = "`nas export` writes them, those that name a flag where it is given"
    yield ("Export formats", formats, ("files", "what they hold", "needs")), _formats()
    yield ("Cards of the report", "In the order of the page", ("name", "what it shows")), _cards()


def schema() -> str:
    """The schema of pareto.json, each network with all that can be capped."""
    content = json.loads(SCHEMA.read_text())
    network = content["$defs"]["network"]
    network["properties"] |= {
        name: {"type": "integer", "description": f"{cap.meaning[0].upper()}{cap.meaning[1:]}.", "minimum": 0}
        for name, cap in CAPS.items()
        if not cap.is_quick
    }
    network["required"] = list(network["properties"])
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def section(title: str, how: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A heading, how the entries are chosen, and a table of them."""
    lines = [columns, ["---"] * len(columns), *rows]
    cells = ("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
    return f"## {title}\n\n{how}.\n\n" + "\n".join(cells)


def said(documented: object) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split())


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _strategies() -> Iterable[Sequence[str]]:
    return ((f"`{name}`", said(sampler)) for name, sampler in STRATEGIES.items())


def _rules() -> Iterable[Sequence[str]]:
    return ((f"`{name}`", rule.meaning) for name, rule in RULES.items())


def _blocks() -> Iterable[Sequence[str]]:
    return ((f"`{name}`", said(builder)) for name, builder in BLOCKS.items())


def _heads() -> Iterable[Sequence[str]]:
    return ((f"`{name}`", said(builder)) for name, builder in HEADS.items())


def _layers() -> Iterable[Sequence[str]]:
    return ((f"`{name}`", _code(f.name for f in fields(kind)) or "none", said(kind)) for name, kind in KINDS.items())


def _spaces() -> Iterable[Sequence[str]]:
    for name, file in shipped_spaces().items():
        architecture = load_architecture(file)
        yield f"[`{name}`](../../search_spaces/{file.name})", str(len(knobs_of(architecture))), said(architecture)


def _caps() -> Iterable[Sequence[str]]:
    for name, cap in CAPS.items():
        has_unit = cap.text(1) != "1"
        yield f"`{name}`", cap.meaning, _code(("64KB", "64KiB", "64000B") if has_unit else ("100K", "1.5M", "100000"))


def _designs() -> Iterable[Sequence[str]]:
    return ((f"`{name}`", said(design)) for name, design in DESIGNS.items())


def _data_sets() -> Iterable[Sequence[str]]:
    return ((f"`{name}`", data.meaning, _code(data.augmentation) or "none") for name, data in DATA_SETS.items())


def _augmentations() -> Iterable[Sequence[str]]:
    for name, each in AUGMENTATIONS.items():
        yield f"`{name}`", each.meaning, "of three colours" if each.needs_colours else "all"


def _recipes() -> Iterable[Sequence[str]]:
    base = RECIPES["search"].recipe
    for name, named in RECIPES.items():
        few = _changed(named.recipe, named.few) if named.few else "the same"
        yield f"`{name}`", named.meaning, _changed(base, named.recipe) or "nothing", few


def _changed(before: Recipe, after: Recipe) -> str:
    """What the second recipe sets otherwise than the first, as `--set` takes it."""
    names = [name for name in described(Recipe) if getattr(before, name) != getattr(after, name)]
    values = {name: getattr(after, name) for name in names}
    return _code(f"{name}={'auto' if value is None else text(value)}" for name, value in values.items())


def _formats() -> Iterable[Sequence[str]]:
    return ((_code(each.files), each.meaning, _code(each.packages) or "nothing more") for each in FORMATS.values())


def _cards() -> Iterable[Sequence[str]]:
    placed = sorted(CARDS.items(), key=lambda item: item[1][0])
    return ((f"`{name}`", said(card)) for name, (_, card) in placed)


OPTION_COLUMNS = ("name", "meaning", "values", "default")
FLAG_COLUMNS = ("argument", "flag", "meaning", "values", "default")


def _fields(kind: type) -> tuple[Iterable[str], Iterable[Field[Any]], Iterable[Option]]:
    """Names, fields and what they say of themselves, in the order of the arguments."""
    order = list(inspect.signature(kind).parameters)
    found = sorted(described(kind).items(), key=lambda item: order.index(item[0]))
    return [name for name, _ in found], [each for _, (each, _) in found], [about for _, (_, about) in found]


def _option(name: str, described_field: Field[Any], about: Option) -> Sequence[str]:
    return f"`{name}`", about.meaning, _values(about), _default(described_field, about)


def _argument(name: str, described_field: Field[Any], about: Option) -> Sequence[str]:
    _, *rest = _option(name, described_field, about)
    return f"`{name}`", _flag(name, about), *rest


def _flag(name: str, about: Option) -> str:
    if about.flag is None:
        return "none"
    return f"`{about.metavar or name.upper()}`" if about.positional else f"`--{(about.flag or name).replace('_', '-')}`"


def _values(about: Option) -> str:
    return _code(about.names) or bounds(about)


def _default(described_field: Field[Any], about: Option) -> str:
    default = described_field.default
    if about.unset:
        return about.unset
    if default is MISSING:
        return "has to be given"
    if isinstance(default, bool):
        return "yes" if default else "no"
    return "unset" if default is None else text(default)


def main(arguments: Sequence[str]) -> int:
    """Writes the files, or says which are out of step."""
    os.environ["COLUMNS"] = WIDTH
    wanted = {HERE / "commands.md": commands(), HERE / "registries.md": registries(), SCHEMA: schema()}
    if "--check" not in arguments:
        for file, content in wanted.items():
            file.write_text(content)
        return 0
    stale = [file.name for file, content in wanted.items() if not file.exists() or file.read_text() != content]
    for name in stale:
        print(f"{name} is out of step with the code; run python docs/reference/generate.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
