"""Run the conformance tests on an installed plugin.

Examples:
  multus conformance source-inventory
  multus conformance invoker-ptp --sample tests/sample.json
  multus conformance --sample sample.json merger-all -- -k valid -v

The sample is a JSON file with input for the plugin; multus.testing.conformance
describes it. Without one, tests that need it are skipped. Arguments after --
go to pytest.
"""

from __future__ import annotations

import argparse
from contextlib import redirect_stdout
from importlib import import_module

from multus.api.errors import MissingPlugin
from multus.cli import screen, telling

PASSES_ON = True
#: Statuses of pytest that mean the same here; its others are failures.
_OF_PYTEST = {0: 0, 4: 2}


STATUSES = {0: "every test passed", 1: "a test failed, or the plugin is not installed"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plugin", metavar="PLUGIN", help="its name in `multus plugins`")
    parser.add_argument("--sample", metavar="FILE", help="input for the plugin, JSON")
    parser.usage = "multus conformance [-h] [--sample FILE] PLUGIN [-- OPTION …]"


def run(arguments: argparse.Namespace) -> int:
    """Run the suite."""
    try:
        import_module("pytest")  # the command line does without
        from multus.testing import conformance
    except ModuleNotFoundError as error:
        raise MissingPlugin(
            f"{error.name} is missing", fix="pip install 'multus[testing]'"
        ) from error
    screen.complain(f"multus conformance: running the tests on {arguments.plugin}")
    telling.end()  # a plugin of pytest may want the timer
    with redirect_stdout(screen.Lines()):
        status = conformance.run(arguments.plugin, arguments.sample, arguments.passed_on)
    return _OF_PYTEST.get(status, 1)
