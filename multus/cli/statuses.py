"""The exit statuses of commands, for their help, the manual page and the pages.

A command's module has ``STATUSES``: what a status means there.  The others of ``COMMON`` mean in
every command what is said here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from types import ModuleType

TITLE = "Exit status:"
COMMON = {
    0: "it was done",
    1: "it failed; standard error says why",
    2: "the command line is wrong",
}
#: The statuses of commands that go on until Ctrl-C or a signal.
INTERRUPTED = {130: "ended by Ctrl-C"}
#: The statuses of commands that check something; see ``multus.cli.findings.Tally``.
CHECKING = {
    0: "everything was looked at, and nothing is an error (warnings do not count)",
    1: "there is an error, or the command failed",
    3: "there is no error, but something could not be looked at",
}
_WIDTH, _INDENT = 80, " " * 7


def of(module: ModuleType) -> Mapping[int, str]:
    """What each exit status of the command in *module* means, in order."""
    found = {**COMMON, **getattr(module, "STATUSES", {})}
    return {status: found[status] for status in sorted(found)}


def shown(statuses: Mapping[int, str]) -> str:
    """The section of a command's help, in 80 columns."""
    lines = [TITLE]
    for status, meaning in statuses.items():
        number = f"  {status:<{len(_INDENT) - 2}}"
        lines += textwrap.wrap(meaning, _WIDTH, initial_indent=number, subsequent_indent=_INDENT)
    return "\n".join(lines)
