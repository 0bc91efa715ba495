"""Check that an installed plugin keeps what every plugin has to.

Examples:
  multus conformance source-inventory
  multus conformance invoker-ptp --sample tests/sample.json
  multus conformance --sample sample.json merger-all -- -k valid -v

The sample is a JSON file that shows the plugin at work; multus.testing.conformance says what it
holds. Without one, tests that need it are skipped. What follows -- goes to pytest.
"""

from __future__ import annotations

import argparse

from multus.api.errors import MissingPlugin


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plugin", help="its name, as `multus plugins` shows it")
    parser.add_argument("--sample", metavar="FILE", help="how the plugin shows its work")
    parser.add_argument("options", nargs="*", metavar="-- OPTION", help="for pytest")


def run(arguments: argparse.Namespace) -> int:
    """Run the suite; pytest's exit status."""
    try:
        from multus.testing import conformance
    except ModuleNotFoundError as error:
        raise MissingPlugin(
            f"{error.name} is missing",
            fix="pip install 'multus[test]'",
        ) from error
    return conformance.run(arguments.plugin, arguments.sample, arguments.options)
