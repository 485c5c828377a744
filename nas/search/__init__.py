"""A search: its options, journal, claims, workers and front; and, called, `nas.search` itself.

The room and the function of the Python API have one name. Importing a module of the room makes it the attribute
`search` of `nas`, so the room can be called: `nas.search(budget=10_000, dataset="digits")` is `nas.api.search`.
"""

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    def __call__(self, **options: Any) -> Any:
        """See `nas.api.search`."""
        from nas.api import search

        return search(**options)


sys.modules[__name__].__class__ = _Room
