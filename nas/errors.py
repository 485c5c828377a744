"""The mistakes a user can make, each told in one line and exit code 2.

UserError            what was asked, what was found, what to do
├── SpaceError       a search-space file, a knob or its settings
├── BudgetError      a budget that no network of the space can meet, or that cannot be read
├── DataError        a data set that is missing or malformed
└── RunError         a run folder that is locked, foreign or holds other settings
"""

EXIT_WRONG_USE = 2
"""What a command or a worker exits with after one of these."""


class UserError(Exception):
    """Wrong use: its text is one line for the person at the terminal."""


class SpaceError(UserError):
    """A search space that cannot be used, or settings that are not in it."""


class BudgetError(UserError):
    """A budget that cannot be read or met."""


class DataError(UserError):
    """A data set that is missing, malformed or unusable."""


class RunError(UserError):
    """A run folder that cannot be created, read or continued."""
