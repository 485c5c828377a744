"""The cap on multiply-adds."""

from nas.space.budget import parse_count
from nas.space.caps import Cap

CAP = Cap(
    title="multiply-adds",
    meaning="multiply-adds of a forward pass on one image",
    count=lambda cost, numbers: cost.macs,
    parse=parse_count,
    text=str,
    words=lambda most, numbers: f"{most:,} multiply-adds",
    is_quick=True,
    flag="--max-macs",
)
