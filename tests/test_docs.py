"""The documentation is in step with the code: its links, names, commands and reference."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nas.cli.main import build_parser
from nas.results.entries import read_ladder
from nas.training.recipes import named_recipe

CHECKOUT = Path(__file__).parent.parent
DOCS = CHECKOUT / "docs"
INDEX = (DOCS / "README.md").read_text()
PAGES = [DOCS / "README.md", *(DOCS / name for name in re.findall(r"\]\(([\w-]+\.md)\)", INDEX))]
"""The pages in the order of the index."""

EVERYTHING = [
    *CHECKOUT.glob("*.md"),
    *DOCS.rglob("*.md"),
    CHECKOUT / "benchmarks/README.md",
    *CHECKOUT.glob("studies/**/*.md"),
]


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """Language and content of the fenced blocks of a page."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.S | re.M)
    return [(language, content) for language, content in found if language in languages]


def anchors(page: Path) -> set[str]:
    """What links to the headings of a page say, as GitHub makes it of them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def test_the_index_has_every_page() -> None:
    assert {page.name for page in DOCS.glob("*.md")} == {page.name for page in PAGES}


def test_the_lowest_versions_are_those_that_are_asked_for() -> None:
    asked = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["dependencies"]
    bounds = dict(re.findall(r"([\w-]+)>=([\d.]+)", " ".join(asked)))
    lowest = dict(re.findall(r"^([\w-]+)==([\d.]+)$", (CHECKOUT / "constraints.lowest.txt").read_text(), re.M))
    assert set(bounds) <= set(lowest)
    for package, version in lowest.items():
        assert f"{version}.0".startswith(f"{bounds[package]}."), package


def test_what_is_promised_is_held_by_tests_that_are_there() -> None:
    there = {
        found
        for file in (CHECKOUT / "tests").glob("test_*.py")
        for found in re.findall(r"def (test_\w+)", file.read_text())
    }
    rows = [line for line in (DOCS / "promised.md").read_text().splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith("| what happens")]
    assert len(rows) > 15
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named or "`benchmarks/attack.py" in row, row
        assert set(named) <= there, row


@pytest.mark.parametrize("page", EVERYTHING, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *PAGES], ids=name)
def test_the_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"`((?:nas|tests|docs|search_spaces|benchmarks|studies|\.ci)/[\w./-]+)`", page.read_text())
    assert [path for path in named if not (CHECKOUT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_commands_that_are_shown_are_commands(page: Path) -> None:
    for _, content in blocks(page, "sh"):
        for line in content.splitlines():
            if line.startswith("nas "):
                build_parser().parse_args(shlex.split(line, comments=True)[1:])


def test_the_recipes_and_ladders_that_are_shown_can_be_read(tmp_path: Path) -> None:
    shown = [content for page in PAGES for _, content in blocks(page, "toml")]
    assert len(shown) == 2
    for number, content in enumerate(shown):
        file = tmp_path / f"{number}.toml"
        file.write_text(content)
        assert read_ladder(file, 1_000, {}) if "[[step]]" in content else named_recipe(str(file), 1_000)


def test_the_reference_is_what_its_generator_writes() -> None:
    command = [sys.executable, "docs/reference/generate.py", "--check"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_everything_that_is_shown_works_when_pasted(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for program, module in (("nas", "-m nas.cli "), ("python", "")):
        (programs / program).write_text(f'#!/bin/sh\nexec {sys.executable} {module}"$@"\n')
        (programs / program).chmod(0o755)
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(CHECKOUT)}
    for page in PAGES:
        if page.name == "many-machines.md":
            continue  # needs a database: tests/test_many_machines.py runs it
        for language, content in blocks(page, "sh", "python"):
            if "class Mine" in content:
                (tmp_path / "mine.py").write_text(content)
            shell = ["python", "-c"] if language == "python" else ["bash", "-ec"]
            done = subprocess.run([*shell, content], cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{name(page)}\n{content}\n{done.stderr}"
