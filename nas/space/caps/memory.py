"""The cap on the memory of values between layers."""

from nas.network.deployment.memory import peak_activation
from nas.network.deployment.numbers import BYTES
from nas.space.budget import parse_bytes, size_text
from nas.space.caps import Cap

CAP = Cap(
    title="memory",
    meaning="bytes of the values that the exported network holds at once, image and scores included",
    count=lambda cost, numbers: BYTES[numbers] * peak_activation(*cost.deployed),
    parse=parse_bytes,
    text=lambda most: f"{most}B",
    words=lambda most, numbers: f"{most:,} bytes of memory in {numbers}",
    is_deployed=True,
    unit="bytes",
    brief=size_text,
    flag="--max memory",
)
