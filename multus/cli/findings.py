"""What a check found, and what became of several checks: the same for doctor and validate.

A check has one of four outcomes: it is right, something is wrong, it could not look (and why), or
it does not apply here.  Each finding names what was looked at.  What could not be looked at is
never counted as right, and the exit status says that there was some.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from multus.api.errors import CNIError

#: From worst to best.  ``UNCHECKED``: the check could not look, or the files at hand do not say;
#: ``NOT_APPLICABLE``: there is nothing to look at.
ERROR, WARNING, UNCHECKED = "error", "warning", "unchecked"
NOTE, NOT_APPLICABLE, OK = "note", "not applicable", "ok"
SEVERITIES = (ERROR, WARNING, UNCHECKED, NOTE, NOT_APPLICABLE, OK)

#: The exit statuses of a command that checks; 2 is a usage error.
STATUS_OK, STATUS_PROBLEM, STATUS_UNCHECKED = 0, 1, 3


@frozen
class Place:
    """A place in a file; ``line`` and ``column`` count from 1, 0 stands for the whole file."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}"


@frozen
class Finding:
    """One finding.

    ``subject`` is a key's path in a file ("delegates[0].type") or a check of a node; ``code`` is
    the CNI error code of the same fault in a call, 0 when there is none.  ``of_node``: only the
    node, or a program on it, can answer.
    """

    severity: str
    subject: str
    reason: str
    fix: str = ""
    place: Place | None = None
    code: int = 0
    of_node: bool = False

    def to_wire(self) -> dict[str, Any]:
        """The finding as JSON, without empty keys."""
        wire: dict[str, Any] = {"severity": self.severity}
        if self.place is not None:
            wire["file"] = self.place.file
            if self.place.line:
                wire |= {"line": self.place.line, "column": self.place.column}
        wire |= {"subject": self.subject, "reason": self.reason}
        return wire | {k: v for k, v in (("fix", self.fix), ("code", self.code)) if v}


@frozen
class Tally:
    """What became of several checks."""

    findings: Sequence[Finding]

    def count(self, severity: str) -> int:
        """How many findings have this severity."""
        return sum(each.severity == severity for each in self.findings)

    @property
    def status(self) -> int:
        """The exit status: 1 with an error, 3 when something could not be looked at, else 0."""
        if self.count(ERROR):
            return STATUS_PROBLEM
        return STATUS_UNCHECKED if self.count(UNCHECKED) else STATUS_OK

    @property
    def status_off_node(self) -> int:
        """The exit status for who says that this is not the node."""
        return Tally([each for each in self.findings if not each.of_node]).status

    @property
    def severity(self) -> str:
        """That of the sum: right only when everything was looked at and nothing is wrong."""
        worst_of_all = worst(self.findings)
        return worst_of_all if worst_of_all in (ERROR, WARNING, UNCHECKED) else OK

    def counts(self) -> dict[str, int]:
        """The numbers, as JSON."""
        return {
            "ok": self.count(OK),
            "problems": self.count(ERROR),
            "warnings": self.count(WARNING),
            "notChecked": self.count(UNCHECKED),
            "notApplicable": self.count(NOT_APPLICABLE),
        }

    def __str__(self) -> str:
        said = f"{self.count(ERROR)} problem(s), {self.count(WARNING)} warning(s)"
        unchecked = self.count(UNCHECKED)
        return f"{said}, {unchecked} not checked" if unchecked else said


def of_error(
    error: CNIError, subject: str, severity: str = ERROR, *, place: Place | None = None
) -> Finding:
    """An error as a finding about *subject*.

    One that comes from missing rights says nothing about the subject: the check could not look.
    """
    if isinstance(error.__cause__, PermissionError):
        return Finding(UNCHECKED, subject, error.said, AS_ROOT, place)
    return Finding(severity, subject, error.said, error.fix, place, error.number)


#: What to do about files that only root can read.
AS_ROOT = "run it as root"


def worst(findings: Iterable[Finding]) -> str:
    """The worst severity among *findings*; ``OK`` when there is none."""
    return min((each.severity for each in findings), key=SEVERITIES.index, default=OK)
