"""What helps people to type: help, completion, the manual page."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from repository import ROOT
from unit.cli.conftest import Command

from multus.cli import names, numbers, parser
from multus.cli.manual import subcommands

COMMANDS = names()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_has_examples_that_its_parser_takes(
    multus: Command, command: str
) -> None:
    said = multus(command, "--help")
    assert said.status == 0
    examples = [
        line.strip()
        for line in said.out.partition("Examples:")[2].splitlines()
        if line.startswith("  ") and f"multus {command}" in line
    ]
    assert examples, f"multus {command} --help shows no example"
    whole = parser()
    for example in examples:
        typed = example[example.index(f"multus {command}") :]
        for end in ("   ", " | ", " > ", " -- "):
            typed = typed.partition(end)[0]
        whole.parse_args(shlex.split(typed)[1:])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command: str) -> None:
    for action in subcommands(parser())[command]._actions:
        assert action.help or action.choices, f"multus {command} {action.option_strings}"


def test_options_may_stand_between_the_words() -> None:
    whole, tried = parser(), 0
    for command in COMMANDS:
        words = [each for each in subcommands(whole)[command]._actions if not each.option_strings]
        if any(each.nargs == "*" for each in words):
            first = [next(iter(each.choices)) for each in words if each.choices]
            found = whole.parse_args([command, *first, "a", "--json", "b"])
            assert getattr(found, words[-1].dest) == ["a", "b"] and found.json
            tried += 1
    assert tried >= 3


@pytest.mark.parametrize("command", COMMANDS)
def test_a_number_that_no_command_can_use_is_a_usage_error(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for action in subcommands(parser())[command]._actions:
        assert action.type not in (int, float), f"multus {command} {action.option_strings}"
        if action.type in (numbers.seconds, numbers.count):
            for text in ("-1", "nan", "inf", "1e300", "two"):
                with pytest.raises(SystemExit, match="2"):
                    parser().parse_args([command, f"{action.option_strings[-1]}={text}"])
                assert repr(text) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shell", "check"), [("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"]), ("fish", ["fish", "-n"])]
)
def test_a_completion_is_a_script_of_its_shell_with_every_command(
    multus: Command, tmp_path: Path, shell: str, check: list[str]
) -> None:
    pytest.importorskip("shtab")
    said = multus("completion", shell)
    assert said.status == 0
    assert [name for name in COMMANDS if name not in said.out] == []
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(said.out)
    subprocess.run([*check, str(path)], check=True)


def test_bash_completes_commands_and_options(multus: Command, tmp_path: Path) -> None:
    pytest.importorskip("shtab")
    path = tmp_path / "script"
    path.write_text(multus("completion", "bash").out)
    script = f"""
source {path}
complete_line() {{
    COMP_WORDS=("$@"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()
    $(complete -p multus | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
    echo "${{COMPREPLY[@]}}"
}}
complete_line multus val
complete_line multus explain --co
"""
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.split() == ["validate", "--conf"]


def test_the_manual_page_renders_without_a_warning(multus: Command, tmp_path: Path) -> None:
    said = multus("man")
    assert said.status == 0
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    path = tmp_path / "multus.1"
    path.write_text(said.out)
    done = subprocess.run(
        ["man", "--warnings", "-l", str(path)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    for command in COMMANDS:
        assert f"multus {command}" in done.stdout


@pytest.mark.parametrize(
    ("typed", "guess"),
    [("trac", "'trace'"), ("Status", "'status'"), ("attachment", "'attachments'")],
)
def test_a_command_that_does_not_exist_gets_a_suggestion(
    multus: Command, typed: str, guess: str
) -> None:
    for words in ([typed], ["help", typed]):
        said = multus(*words)
        assert said.status == 2
        assert f"there is no command {typed!r}: did you mean {guess}? 'multus help'" in said.err


def test_without_a_similar_one_the_list_is_named(multus: Command) -> None:
    said = multus("qqqqq")
    assert (said.status, said.out) == (2, "")
    assert said.err == "multus: there is no command 'qqqqq': 'multus help' lists all\n"


def test_the_command_of_a_checkout_says_so_too() -> None:
    done = subprocess.run(
        [ROOT / "dev", "qqqqq"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "dev: there is no command 'qqqqq'; './dev help' lists all\n"
