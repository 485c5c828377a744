"""The mistakes a user can make, each told in one line and exit code 2.

UserError            what was asked, what was found, what to do
├── SpaceError       a search-space file, a knob or its settings
├── BudgetError      a budget that no network of the space can meet, or that cannot be read
├── DataError        a data set that is missing or malformed
├── RecipeError      a recipe or a change of one
└── RunError         a run folder that is locked, foreign or holds other settings
"""

EXIT_DONE, EXIT_NO_ANSWER, EXIT_WRONG_USE, EXIT_INTERRUPTED = 0, 1, 2, 130
"""Done; ran but has no answer; one of these errors; interrupted."""


class UserError(Exception):
    """Wrong use: its text is one line for the person at the terminal."""


class SpaceError(UserError):
    """A search space that cannot be used, or settings that are not in it."""


class BudgetError(UserError):
    """A budget that cannot be read or met."""


class DataError(UserError):
    """A data set that is missing, malformed or unusable."""


class RecipeError(UserError):
    """A recipe that is unknown, out of range or contradicts itself."""


class RunError(UserError):
    """A run folder that cannot be created, read or continued."""
