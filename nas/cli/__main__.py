"""`python -m nas.cli`, the same as `nas`."""

import sys

from nas.cli.main import main

sys.exit(main())
