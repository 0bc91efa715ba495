"""Check that an installed plugin keeps what every plugin has to.

Examples:
  multus conformance source-inventory
  multus conformance invoker-ptp --sample tests/sample.json
  multus conformance --sample sample.json merger-all -- -k valid -v

The sample is a JSON file that shows the plugin at work; multus.testing.conformance says what it
holds. Without one, tests that need it are skipped. What follows -- is for pytest.
"""

from __future__ import annotations

import argparse
from contextlib import redirect_stdout

from multus.api.errors import MissingPlugin
from multus.cli import screen

PASSES_ON = True


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plugin", metavar="PLUGIN", help="its name, as `multus plugins` shows it")
    parser.add_argument("--sample", metavar="FILE", help="how the plugin shows its work")
    parser.usage = "multus conformance [-h] [--sample FILE] PLUGIN [-- OPTION …]"


def run(arguments: argparse.Namespace) -> int:
    """Run the suite; pytest's exit status."""
    try:
        from multus.testing import conformance
    except ModuleNotFoundError as error:
        raise MissingPlugin(
            f"{error.name} is missing", fix="pip install 'multus[testing]'"
        ) from error
    with redirect_stdout(screen.Lines()):
        return conformance.run(arguments.plugin, arguments.sample, arguments.passed_on)
