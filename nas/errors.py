"""The mistakes a user can make, each told in one line and exit code 2.

UserError            what was asked, what was found, what to do
├── SpaceError       a search-space file, a knob or its settings (RefusedSettingError: one that makes no network)
├── BudgetError      a budget that no network of the space can meet, or that cannot be read
├── DataError        a data set that is missing or malformed
├── RecipeError      a recipe or a change of one
└── RunError         a run folder that is locked, foreign or holds other settings
    └── LostError    what machines share cannot be reached: storage or files; later it may
"""

import os
import re
from dataclasses import dataclass, field
from typing import NamedTuple

EXIT_DONE, EXIT_NO_ANSWER, EXIT_WRONG_USE, EXIT_MACHINE, EXIT_LOST, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 130
"""Done; ran but has no answer; one of these errors; of a process that trains: the machine gave out, or what machines
share cannot be reached; interrupted."""

LONGEST = 200
"""Letters of the words of an exception that are told."""


class UserError(Exception):
    """Wrong use: its text is one line for the person at the terminal, whatever the names in it hold."""

    def __str__(self) -> str:
        return written_out(super().__str__())


class SpaceError(UserError):
    """A search space that cannot be used, or settings that are not in it."""


class RefusedSettingError(SpaceError):
    """A setting of which a space's own code makes no network; `reason` is what it raised, in one line."""

    def __init__(self, space: str, setting: str, reason: str) -> None:
        self.setting, self.reason = setting, reason
        super().__init__(f"network() of space {space!r} failed for {setting}: {reason}")


class Refusal(NamedTuple):
    """Settings that a space refused for one reason: the reason in a line, how many they were, the first of them."""

    reason: str
    settings: int
    first: str


@dataclass
class Refusals:
    """The settings that a space has refused so far, each once. Reasons that differ in their numbers alone are one."""

    _settings: dict[str, set[str]] = field(default_factory=dict)
    _reasons: dict[str, tuple[str, str]] = field(default_factory=dict)

    def note(self, refused: RefusedSettingError) -> None:
        """One more."""
        words = re.sub(r"\d+", "#", refused.reason)
        self._settings.setdefault(words, set()).add(refused.setting)
        self._reasons.setdefault(words, (refused.reason, refused.setting))

    def told(self) -> tuple[Refusal, ...]:
        """Each reason, the most frequent first."""
        each = (Refusal(r, len(self._settings[words]), first) for words, (r, first) in self._reasons.items())
        return tuple(sorted(each, key=lambda refusal: -refusal.settings))


class BudgetError(UserError):
    """A budget that cannot be read or met."""


class DataError(UserError):
    """A data set that is missing, malformed or unusable."""


class RecipeError(UserError):
    """A recipe that is unknown, out of range or contradicts itself."""


class RunError(UserError):
    """A run folder that cannot be created, read or continued."""


class LostError(RunError):
    """Storage or files that machines share cannot be reached, or a session there has ended."""


def written_out(text: str) -> str:
    r"""The text with ends of lines and other signs that steer terminals written out, as names of files may hold them.

    >>> print(written_out("a\nb"))
    a\nb
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda sign: repr(sign[0])[1:-1], text)


def in_one_line(error: BaseException) -> str:
    """What others' code raised: its type and its words; those alone of an error that is told to users."""
    words = " ".join(str(error).split())
    if isinstance(error, UserError):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def shown(value: object) -> str:
    """Any value in a line of at most 80 letters."""
    try:
        words = repr(value)
    except Exception:  # of others' code, or of a number with thousands of digits
        words = f"a value of type {type(value).__name__}"
    return f"{' '.join(words.split()):.80}"


def words_of(error: BaseException) -> str:
    """What others' code raised, in one line of reasonable length."""
    try:
        words = in_one_line(error)
    except Exception:  # its own text fails
        words = type(error).__name__
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}…"


def is_of_the_machine(error: BaseException) -> bool:
    """Whether the machine gave out, and no network, space or setting is to blame: a disk that is full, files that
    cannot be opened, memory or threads that are short, also where libraries have words of their own for it. Who asks
    for more memory than there is at all is to blame."""
    if isinstance(error, OSError | MemoryError):
        return True
    words = str(error)
    if not isinstance(error, RuntimeError | ImportError | SystemError) or not _SHORT.search(words):
        return False
    asked = re.search(r"tried to allocate ([0-9.]+) (bytes|[KMG]iB)", words, re.IGNORECASE)
    there = re.search(r"total capacity of ([0-9.]+) (GiB)", words)
    has = _bytes(there) if there else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return asked is None or _bytes(asked) <= has


_SHORT = re.compile(
    r"allocate memory|out of memory|not enough memory|std::bad_alloc|_ALLOC_FAILED"
    r"|could not (create|execute) a primitive$"  # oneDNN, of a buffer that it did not get
    r"|failed to map segment from shared object"  # a library that is loaded late
    r"|can't start new thread"
    r"|error return without exception set"  # of a library that did not look whether it got its memory
)


def _bytes(found: "re.Match[str]") -> float:
    return float(found[1]) * {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[found[2]]


def told_of_the_machine(error: BaseException) -> str:
    """A failure of the machine in one line: what, where, and what to do."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or in_one_line(error)}; nothing is lost: mend that and repeat the command"
    short = "threads are" if "thread" in str(error) else "memory is"
    return f"{short} short: {in_one_line(error)[:160]}; with fewer --workers each has more"
