"""The house: nine rooms, whose imports only point down."""

import ast
import subprocess
import sys
from pathlib import Path

import nas

PACKAGE = Path(nas.__file__).parent

HEIGHT = {"network": 1, "data": 1, "space": 2, "training": 3, "search": 4, "results": 5, "api": 6, "cli": 7}
"""The rooms from the bottom to the top, `api` between results and the command line."""

ANYWHERE = {"machine": 0, "stopping": 0, "errors": -1, "seeds": -1}
"""What anyone may import: two rooms, and two files."""

ROOMS = {*HEIGHT, *ANYWHERE} - {"api", "errors", "seeds"}

LAZY = {
    ("nas", "nas.api"),
    ("nas", "nas.network.module"),
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
    assert found["nas.network.folds"] == {"nas.network.layers"}
    assert "nas.space.draw" in found["nas.search.strategies.random"]
    assert "nas.results.networks" in found["nas.cli.commands.networks.count"]  # inside its functions


def test_a_shipped_space_imports_only_what_describes_networks() -> None:
    from nas.space.space import shipped_spaces

    allowed = {"nas.network.blocks", "nas.network.layers", "nas.space.space"}
    for path in shipped_spaces().values():
        assert imported(path, set(modules())) <= allowed


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


def test_nas_search_can_be_called_whatever_was_imported_before() -> None:
    code = "import nas.search.search\ntry: nas.search(budget=10)\nexcept nas.UserError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "give either dataset=… or arrays=(images, labels)\n"
