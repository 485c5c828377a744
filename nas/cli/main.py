"""The command line: a command and its flags to the function that runs it, and errors to exit codes.

Exit codes: 0 done; 1 ran but has no answer; 2 wrong use; 130 interrupted. JSON goes to stdout, all else to stderr.
"""

import os
import select
import sys
from collections.abc import Sequence

from nas.cli import cli_networks, cli_runs, cli_training
from nas.cli.flags import build_parser
from nas.errors import EXIT_INTERRUPTED, EXIT_NO_ANSWER, EXIT_WRONG_USE, UserError

COMMANDS = cli_runs.COMMANDS | cli_networks.COMMANDS | cli_training.COMMANDS


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    flags = build_parser().parse_args(arguments)
    try:
        code = COMMANDS[flags.name](flags)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        if not _reader_has_left():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush, of the interpreter
        return EXIT_NO_ANSWER
    except UserError as error:
        print(f"nas: {error}", file=sys.stderr)
        return EXIT_WRONG_USE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _reader_has_left() -> bool:
    """Whether nobody reads the output any more, as after `| head`."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return bool(poll.poll(0))  # which tells of broken ones, whatever it is asked for
