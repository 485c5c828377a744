"""The cap on the bytes of the weights."""

from nas.network.deployment.numbers import BYTES
from nas.network.deployment.weights import weight_bytes
from nas.space.budget import parse_bytes, size_text
from nas.space.caps import Cap

PARAMETERS_A_NUMBER = {"fp32": 2, "int8": 1}
"""Most parameters for each number that the weights of a deployed network hold: a 1x1 convolution of one channel has
three with its norm, which leave a weight and a bias in fp32, and nine bytes in int8."""

CAP = Cap(
    title="weights",
    meaning="bytes of the weights of the exported network, biases and scales included",
    count=lambda cost, numbers: weight_bytes(*cost.deployed, numbers),
    parse=parse_bytes,
    text=lambda most: f"{most}B",
    words=lambda most, numbers: f"{most:,} bytes of weights in {numbers}",
    is_deployed=True,
    unit="bytes",
    brief=size_text,
    flag="--max bytes",
    fills=True,
    parameters=lambda most, numbers: max(1, PARAMETERS_A_NUMBER[numbers] * most // BYTES[numbers]),
)
