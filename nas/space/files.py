"""The files in which spaces are defined: found by name or path, imported, and told apart by what is in them."""

import argparse
import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import Field, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from nas.errors import RefusedSettingError, SpaceError, words_of
from nas.machine.registry import defined
from nas.space.space import Architecture, Space, knobs_of

SUFFIX = ".py"

_SCRIPT = '; what a script does goes below `if __name__ == "__main__":`'


def shipped_spaces() -> dict[str, Path]:
    """Name to file of the spaces that come with nas: inside the installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "search_spaces", package.parent / "search_spaces"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}
    raise SpaceError("the shipped search spaces are missing from this installation of nas; install it again")


def find_space(name_or_path: str) -> tuple[Path, str | None]:
    """The file of a space and the class that is asked for in it, if one is: a shipped space by its name, one's own by
    its path, "mine.py", or "mine.py:Name" where the file has several. Raises SpaceError where there is none."""
    path, class_name = _divided(name_or_path)
    if path is not None:
        if not os.path.isfile(path):  # which a name that is too long is none for either
            raise SpaceError(f"there is no space file {str(path)!r}")
        return path.resolve(), class_name
    shipped = shipped_spaces()
    if name_or_path not in shipped:
        raise SpaceError(f"no space is named {name_or_path!r}; shipped are {', '.join(shipped)}; or give a .py file")
    return shipped[name_or_path], None


def is_space(name_or_path: str) -> bool:
    """Whether it is the name of a shipped space, or a path of one's own, which need not be there."""
    return _divided(name_or_path)[0] is not None or name_or_path in shipped_spaces()


def space_stem(name_or_path: str) -> str:
    """The space as it is told in short: the name, or that of the file."""
    path, class_name = _divided(name_or_path)
    return name_or_path if path is None else class_name or path.stem


def _divided(name_or_path: str) -> tuple[Path | None, str | None]:
    """Path and class; no path of what is a name."""
    path, colon, class_name = name_or_path.rpartition(f"{SUFFIX}:")
    if colon and class_name.isidentifier():
        return Path(path + SUFFIX), class_name
    return (Path(name_or_path), None) if name_or_path.endswith(SUFFIX) else (None, None)


def told_space(file: Path, class_name: str) -> str:
    """What `find_space` takes to find that class of the file."""
    if shipped_spaces().get(file.stem) == file:
        return file.stem
    own = _with_knobs(defined(_import_file(file), Architecture))
    return str(file) if len(own) == 1 else f"{file}:{class_name}"


def named_space(name_or_path: str) -> type[Architecture]:
    """The class of a space, see `find_space` and `load_architecture`."""
    return load_architecture(*find_space(name_or_path))


def load_architecture(
    path: Path, class_name: str | None = None, arguments: Sequence[str] | None = None
) -> type[Architecture]:
    """The space class in a file: the one named, or the only one with knobs of its own. The file sees the `arguments`
    in `sys.argv`; without any, those of this process. Raises SpaceError for none, several or bad code."""
    module = _import_file(path, arguments)
    own = defined(module, Architecture)
    named = [kind for kind in own if class_name == kind.__name__ or vars(module).get(class_name or "") is kind]
    found = named if class_name else _with_knobs(own)
    names = ", ".join(kind.__name__ for kind in own) or "none"
    if len(found) > 1:
        raise SpaceError(f"{path} defines several spaces, {names}; say which: {path}:{found[-1].__name__}")
    if not found:
        wanted = f"a class {class_name}" if class_name else "one class"
        raise SpaceError(f"{path} must define {wanted} derived from nas.Architecture but defines {names}{_why(module)}")
    for kind in found if class_name else own:
        if "__dataclass_fields__" not in vars(kind) and any(isinstance(value, Field) for value in vars(kind).values()):
            raise SpaceError(
                f"space class {kind.__name__!r} must be a dataclass; write @dataclass(frozen=True) above it"
            )
    knobs_of(found[0])
    return found[0]


def _why(module: ModuleType) -> str:
    """Where a class may be that was looked for."""
    others = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Architecture)]
    foreign = [kind for kind in others if kind.__module__ not in (module.__name__, Architecture.__module__)]
    if foreign:
        return f"; {foreign[0].__name__} comes from {foreign[0].__module__}, whose file can be given"
    return '; a space stands above the first call of nas, neither in a function nor below `if __name__ == "__main__":`'


def _with_knobs(own: list[type[Architecture]]) -> list[type[Architecture]]:
    """Those that are dataclasses or derived from one, if there is one: others are what it is derived from."""
    decorated = [kind for kind in own if is_dataclass(kind)]
    return decorated if len(decorated) == 1 else own


def space_checksum(path: Path) -> str:
    """sha256 of the file that defines a space: a run is continued only with the space it began with."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def space_fingerprint(space: Space) -> str:
    """16 hex digits that tell apart what a file makes, which may depend on more than its text: the knobs, and the
    network of their defaults, if they make one."""
    knobs = [[knob.name, knob.options, knob.role, knob.start] for knob in space.knobs]
    try:
        network = space.identity(space.defaults)
    except RefusedSettingError:
        network = ""
    return hashlib.sha256(json.dumps([knobs, network]).encode()).hexdigest()[:16]


def _import_file(path: Path, arguments: Sequence[str] | None = None) -> ModuleType:
    """The file run as a module, which may import modules that lie beside it. Those are forgotten then: another space
    may have others of the same names beside it."""
    name = f"nas_space_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SpaceError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    token = _is_imported.set(True)
    try:
        with _importable(path.parent), _called_with(path, arguments):
            spec.loader.exec_module(module)
    except _WorkBeginsError:
        pass
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an exit too, which would end us without a word
        ends = "" if not isinstance(error, SystemExit) else _SCRIPT
        raise SpaceError(f"space file {path} cannot be imported: {words_of(error)}{ends}") from error
    finally:
        _is_imported.reset(token)
    return module


class _WorkBeginsError(BaseException):
    """A script that defines a space has come to the work that it asks for, which is another process's."""


_is_imported = ContextVar("_is_imported", default=False)

_arguments: ContextVar[Sequence[str] | None] = ContextVar("_arguments", default=None)
"""What space files see in `sys.argv` behind their own name; None: what this process was called with."""


@contextmanager
def without_arguments() -> Iterator[None]:
    """Space files are imported as if run by themselves: the words of a command are not theirs."""
    token = _arguments.set(())
    try:
        yield
    finally:
        _arguments.reset(token)


def arguments_here() -> list[str]:
    """What space files see now in `sys.argv` behind their own name."""
    words = _arguments.get()
    return list(sys.argv[1:] if words is None else words)


@contextmanager
def _called_with(path: Path, arguments: Sequence[str] | None) -> Iterator[None]:
    """The file sees those arguments, and what its argparse complains of is the end of the process in one line."""
    words = _arguments.get() if arguments is None else arguments
    before, complains = sys.argv, argparse.ArgumentParser.error
    sys.argv = before if words is None else [str(path), *words]
    argparse.ArgumentParser.error = _ends  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        sys.argv = before
        argparse.ArgumentParser.error = complains  # type: ignore[method-assign]


def _ends(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    raise SystemExit(f"argparse: {message}")


def begin_work() -> None:
    """Ends the import of a space file at the place where it asks for work: what it defines stands above. So a script
    that defines a space and searches it needs no `if __name__ == "__main__"`."""
    if _is_imported.get():
        raise _WorkBeginsError


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Modules in the folder can be imported, as from a script that lies there."""
    if str(folder) in sys.path:
        yield
        return
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            top = name.partition(".")[0]
            if (folder / f"{top}{SUFFIX}").is_file() or (folder / top).is_dir():
                del sys.modules[name]
