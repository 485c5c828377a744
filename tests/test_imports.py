"""Imports only point down: a module imports from layers below its own, or from its own without going in circles."""

import ast
import subprocess
import sys
from pathlib import Path

import nas

PACKAGE = Path(nas.__file__).parent

LAYERS: list[set[str]] = [
    {"nas.errors", "nas.layers", "nas.predict", "nas.seeds", "nas.recipe"},
    {"nas.folds", "nas.curves", "nas.recipes", "nas.schedule"},
    {"nas.card", "nas.folders", "nas.serial", "nas.source", "nas.stopping"},
    {"nas.space"},
    {"nas.blocks", "nas.budget", "nas.models"},
    {"nas", "nas.draw"},
    {
        "nas.designs",
        "nas.graphs",
        "nas.module",
        "nas.data",
        "nas.data_arrays",
        "nas.data_files",
        "nas.data_named",
        "nas.plan",
        "nas.process",
        "nas.pulse",
        "nas.vision",
    },
    {
        "nas.augment",
        "nas.baselines",
        "nas.export",
        "nas.pruner",
        "nas.train",
        "nas.samplers",
        "nas.samplers.base",
        "nas.samplers.evolution",
        "nas.samplers.gp",
        "nas.samplers.greedy",
        "nas.samplers.listed",
        "nas.samplers.local",
        "nas.samplers.random",
        "nas.samplers.tpe",
        "nas.samplers.walk",
        "nas.storage",
    },
    {"nas.audit", "nas.compare", "nas.judging", "nas.studies"},
    {"nas.claims", "nas.front", "nas.comparison_page", "nas.scaling"},
    {"nas.worker", "nas.supervise", "nas.survey", "nas.networks"},
    {"nas.training"},
    {"nas.trainer", "nas.table"},
    {"nas.commands", "nas.confirm", "nas.racing"},
    {"nas.exportable"},
    {"nas.table_page", "nas.terminal"},
    {"nas.terminal_networks"},
    {"nas.api", "nas.console", "nas.flag_values"},
    {
        "nas.report",
        "nas.report.cards_accuracy",
        "nas.report.cards_confirmed",
        "nas.report.cards_networks",
        "nas.report.cards_record",
        "nas.report.cards_training",
        "nas.report.cards_walk",
        "nas.report.checklist",
        "nas.report.folders",
        "nas.report.gather",
        "nas.report.page",
        "nas.report.pictures",
        "nas.report.published",
        "nas.report.theme",
        "nas.report.trials",
        "nas.report.watch",
        "nas.report.whole",
    },
    {"nas.flags_networks"},
    {"nas.flags"},
    {"nas.cli_networks", "nas.cli_runs", "nas.cli_training"},
    {"nas.cli"},
]
"""From the bottom to the top."""

LAZY = {("nas", "nas.api"), ("nas", "nas.module"), ("nas", "nas.pruner")}
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


HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}


def test_every_module_has_its_place_among_the_layers():
    assert set(modules()) == set(HEIGHT)
    assert sum(map(len, LAYERS)) == len(HEIGHT)


def test_imports_only_point_down():
    upward = [
        f"{name} imports {other}"
        for name, others in imports().items()
        for other in sorted(others)
        if HEIGHT[other] > HEIGHT[name]
    ]
    assert upward == []


def test_no_module_imports_itself_in_a_circle():
    graph = imports()
    ready: set[str] = set()
    while free := {name for name, others in graph.items() if name not in ready and others - {name} <= ready}:
        ready |= free
    assert set(graph) - ready == set()


def test_the_imports_are_really_read():
    found = imports()
    assert found["nas.folds"] == {"nas.layers"}
    assert {"nas.space", "nas.survey", "nas.networks"} <= found["nas.cli_networks"]  # inside its functions
    assert found["nas.samplers.random"] == {"nas.budget", "nas.draw", "nas.samplers.base", "nas.space"}


def test_a_shipped_space_imports_only_what_describes_networks():
    from nas.space import shipped_spaces

    allowed = {"nas.blocks", "nas.layers", "nas.space"}
    for path in shipped_spaces().values():
        assert imported(path, set(HEIGHT)) <= allowed


def heavy_after(code: str) -> str:
    """Which heavy libraries a fresh interpreter has loaded after the code."""
    report = "import sys; print(sorted({'torch', 'optuna', 'numpy', 'rich', 'PIL', 'plotly'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_describing_networks_and_spaces_imports_no_heavy_library():
    assert heavy_after("import nas, nas.layers, nas.folds, nas.serial, nas.space, nas.budget, nas.blocks") == "[]"


def test_help_imports_no_heavy_library():
    code = "import nas.cli\ntry: nas.cli.main(['search', '--help'])\nexcept SystemExit: pass"
    assert heavy_after(code) == "[]"
