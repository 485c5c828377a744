"""The cap on parameters."""

from nas.space.budget import parse_count
from nas.space.caps import Cap

CAP = Cap(
    title="parameters",
    meaning="parameters",
    count=lambda cost, numbers: cost.parameters,
    parse=parse_count,
    text=str,
    words=lambda most, numbers: f"{most:,} parameters",
    is_quick=True,
    flag="--budget",
    fills=True,
    parameters=lambda most, numbers: most,
)
