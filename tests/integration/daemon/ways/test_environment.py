from __future__ import annotations

from integration.blackbox.test_environment import *  # noqa: F403
from integration.blackbox.test_environment import TestWithoutACommand

# A shim has no command line of its own: what it is asked without a command is the daemon's.
del TestWithoutACommand
