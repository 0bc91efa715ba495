"""Numbers on the command line: a wrong one is a usage error, whichever command takes it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from multus import cli


def _numeric() -> Iterator[tuple[str, str]]:
    """Each command's options that take a number: their type turns "2" into one."""
    [commands] = [
        each for each in cli.parser()._actions if isinstance(each, argparse._SubParsersAction)
    ]
    for name, parser in commands.choices.items():
        for action in parser._actions:
            if isinstance(action.default, int | float) and callable(action.type):
                yield name, action.option_strings[0]


@pytest.mark.parametrize("wrong", ["-1", "nan", "inf", "x"])
@pytest.mark.parametrize(("command", "option"), list(_numeric()))
def test_a_wrong_number_is_a_usage_error(
    command: str, option: str, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, f"{option}={wrong}"]) == 2
    assert f"argument {option}" in capsys.readouterr().err.replace(f"{option}/-", option)
