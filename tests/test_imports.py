"""The house: nine rooms, whose imports only point down, and how large anything in them may be."""

import ast
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

import nas
from nas.cli.commands import COMMANDS
from nas.data.augmentations import AUGMENTATIONS
from nas.data.sets import DATA_SETS
from nas.network.blocks import BLOCKS
from nas.results.export.formats import FORMATS
from nas.results.report.cards import CARDS
from nas.search.strategies import STRATEGIES
from nas.space.caps import CAPS
from nas.space.designs import DESIGNS
from nas.space.files import shipped_spaces
from nas.space.models import MODELS
from nas.stopping.rules import RULES
from nas.training.recipes import RECIPES

PACKAGE = Path(nas.__file__).parent

HEIGHT = {"network": 1, "data": 1, "space": 2, "training": 3, "search": 4, "results": 5, "api": 6, "cli": 7}
"""The rooms from the bottom to the top, `api` between results and the command line."""

ANYWHERE = {"machine": 0, "stopping": 0, "errors": -2, "seeds": -2, "stored": -1}
"""What anyone may import: two rooms, and three files."""

ROOMS = {*HEIGHT, *ANYWHERE} - {"api", "errors", "seeds", "stored"}

LAZY = {
    ("nas", "nas.api"),
    ("nas", "nas.network.modules.module"),
    ("nas", "nas.search.judging.pruner"),
    ("nas.search", "nas.api"),
}
"""What `import nas` offers without importing it: for type checkers, and loaded on first use."""


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    return {module_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if "search_spaces" not in path.parts}


def imported(path: Path, known: set[str]) -> set[str]:
    """Modules of nas that the file imports, at its top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively in line {node.lineno}"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module or "")
    return {name for name in found if name.partition(".")[0] == "nas"}


def imports() -> dict[str, set[str]]:
    known = modules()
    return {
        name: {other for other in imported(path, set(known)) if (name, other) not in LAZY}
        for name, path in known.items()
    }


def nodes() -> Iterator[tuple[str, ast.AST]]:
    """Everything in the modules of nas and in the shipped spaces, with the name of its module."""
    for name, path in (modules() | {f"search_spaces.{name}": path for name, path in shipped_spaces().items()}).items():
        for node in ast.walk(ast.parse(path.read_text())):
            yield name, node


def room(name: str) -> str:
    """The room of a module, or the file beside the rooms; "" for nas itself."""
    return ".".join(name.split(".")[1:2])


def test_the_house_has_nine_rooms_and_a_few_files_beside_them() -> None:
    own = [path for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "search_spaces")]
    assert {path.name for path in own if path.is_dir()} == ROOMS
    assert len(ROOMS) == 9
    assert sum(path.is_file() for path in own) <= 6


def test_imports_only_point_down() -> None:
    height = HEIGHT | ANYWHERE
    upward = [
        f"{name} imports {other}"
        for name, others in imports().items()
        for other in sorted(others)
        if "" not in (room(name), room(other))
        and room(name) != room(other)
        and height[room(other)] >= height[room(name)]
    ]
    assert upward == []


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = imports()
    ready: set[str] = set()
    while free := {name for name, others in graph.items() if name not in ready and others - {name} <= ready}:
        ready |= free
    assert set(graph) - ready == set()


def test_the_imports_are_really_read() -> None:
    found = imports()
    assert found["nas.network.folds"] == {"nas.network.checked", "nas.network.layers", "nas.network.remembered"}
    assert "nas.space.draw" in found["nas.search.strategies.controls.random"]
    assert "nas.results.networks" in found["nas.cli.commands.networks.count"]  # inside its functions


def test_a_shipped_space_imports_only_what_describes_networks() -> None:
    from nas.space.files import shipped_spaces

    described = {"nas.network.blocks", "nas.network.heads", "nas.network.folds", "nas.network.layers"}
    for path in shipped_spaces().values():
        assert imported(path, set(modules())) <= described | {"nas.space.space"}


# How large anything may be


def test_no_package_has_more_than_nine_files_beside_its_sub_packages() -> None:
    folders = [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir() and path.name != "__pycache__")]
    files = {folder: sum(path.is_file() for path in folder.iterdir()) for folder in folders}
    assert {str(folder): count for folder, count in files.items() if count > 9} == {}


def test_no_file_has_more_than_300_lines() -> None:
    """Files of code: what a program has written, as the schema of pareto.json, may be longer."""
    code = [path for suffix in ("py", "js", "css") for path in PACKAGE.rglob(f"*.{suffix}")]
    lines = {path: len(path.read_text().splitlines()) for path in (*code, *shipped_spaces().values())}
    assert {str(path): count for path, count in lines.items() if count > 300} == {}


def test_no_function_has_more_than_50_lines() -> None:
    long = [
        (name, node.name, node.end_lineno - node.lineno + 1)
        for name, node in nodes()
        if isinstance(node, ast.FunctionDef) and node.end_lineno and node.end_lineno - node.lineno >= 50
    ]
    assert long == []


# How anything is written


def test_every_docstring_stands_alone() -> None:
    """A first word such as "Of" leaves it to the name beside it to say what is spoken of."""
    told = [
        (name, node.value.value)
        for name, node in nodes()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    assert len(told) > 500
    assert [(name, words) for name, words in told if re.match(r"(Of|By)\b", words)] == []


def test_one_file_knows_where_optuna_keeps_what_is_noted_on_a_trial() -> None:
    assert [name for name, path in modules().items() if "user_attr" in path.read_text()] == ["nas.search.notes"]


def test_one_file_reaches_into_what_is_private_to_others() -> None:
    """Attributes that begin with an underscore, of anything but oneself, and private names of other modules."""
    reaches = {(name, ast.unparse(node)) for name, node in nodes() if reaches_into(node)}
    assert reaches == {("nas.search.journal", "study._storage")}


def reaches_into(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return is_private(node.attr) and ast.unparse(node.value) not in ("self", "cls")
    return isinstance(node, ast.ImportFrom) and any(is_private(alias.name) for alias in node.names)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


REGISTRIES: dict[str, Collection[str]] = {
    "augmentations": AUGMENTATIONS,
    "caps": CAPS,
    "cards": CARDS,
    "commands": COMMANDS,
    "data sets": DATA_SETS,
    "designs": DESIGNS,
    "formats": FORMATS,
    "kinds of block": BLOCKS,
    "models": MODELS,
    "recipes": RECIPES,
    "rules": RULES,
    "spaces": shipped_spaces(),
    "strategies": STRATEGIES,
}


@pytest.mark.parametrize("registry", REGISTRIES)
def test_the_names_of_a_registry_are_listed_nowhere_else(registry: str) -> None:
    """A list is three of them or more, and more than half: a recipe may well take four of eight augmentations."""
    names = set(REGISTRIES[registry])
    listed = [
        (name, ast.unparse(node))
        for name, node in nodes()
        if isinstance(node, ast.Tuple | ast.List | ast.Set)
        and len(names & {element.value for element in node.elts if isinstance(element, ast.Constant)})
        >= max(3, len(names) // 2 + 1)
    ]
    assert len(names) >= 3
    assert listed == []


# What is imported when


def heavy_after(code: str) -> str:
    """Which heavy libraries a fresh interpreter has loaded after the code."""
    report = "import sys; print(sorted({'torch', 'optuna', 'numpy', 'rich', 'PIL', 'plotly'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_describing_networks_and_spaces_imports_no_heavy_library() -> None:
    code = "import nas, nas.network.folds, nas.network.serial, nas.network.blocks, nas.space.space, nas.space.budget"
    assert heavy_after(code) == "[]"


def test_help_imports_no_heavy_library() -> None:
    code = "import nas.cli.main\ntry: nas.cli.main.main(['search', '--help'])\nexcept SystemExit: pass"
    assert heavy_after(code) == "[]"


def test_a_search_and_its_workers_do_without_what_takes_long_to_import() -> None:
    code = (
        "import nas.api, nas.search.workers.worker, sys; print('scipy.stats' in sys.modules, 'plotly' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_nas_search_can_be_called_whatever_was_imported_before() -> None:
    code = "import nas.search.search\ntry: nas.search(budget=10)\nexcept nas.UserError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "give either dataset=… or arrays=(images, labels)\n"
