"""Attacks on everything that computes: kills, failing system calls, inputs that nobody meant, and a large search.

kills   kill -9 of workers, parents and both, at random moments: is anything lost, doubled or changed?
faults  calls that write made to fail: does a line say so, does the same command go on to the same result?
inputs  files and flags that nobody meant: exit code 0, 1 or 2 with a line, in time, nothing executed?
hosts   a search on three hosts: kills, cut cables, a database that dies, a bucket that does not answer
scale   thousands of trials: what does the bookkeeping of one cost, and a report of all?
"""

import sys

from attacks import faults, hosts, inputs, kills, scale
from machine import Figures, parser, show

ATTACKS = {
    "kills": kills.attack,
    "faults": faults.attack,
    "inputs": inputs.attack,
    "hosts": hosts.attack,
    "scale": scale.attack,
}


def main() -> int:
    """Prints the figures as JSON; exit code 1 where an attack has succeeded."""
    arguments = parser(__doc__, "python benchmarks/attack.py kills --count 100 --seed 1")
    arguments.add_argument("attacks", nargs="*", metavar="ATTACK", help=f"of {', '.join(ATTACKS)} (default: all)")
    arguments.add_argument("--count", type=int, help="kills, faults, inputs or trials (default: as in the README)")
    arguments.add_argument("--seed", type=int, default=0, help="of what is random (default: %(default)s)")
    asked = arguments.parse_args()
    unknown = [name for name in asked.attacks if name not in ATTACKS]
    if unknown:
        arguments.error(f"no attack is named {', '.join(unknown)}; there are {', '.join(ATTACKS)}")
    figures: Figures = {}
    for name in asked.attacks or ATTACKS:
        figures[name] = ATTACKS[name](asked.count, asked.seed)
    show(figures)
    return int(any(found["faults"] for found in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
