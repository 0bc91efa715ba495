"""A finding: what is wrong, where, why, and the fix."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from multus.api.errors import CNIError

#: From worst to best.  ``UNCHECKED``: the files at hand do not say whether it is right.
ERROR, WARNING, UNCHECKED, NOTE, OK = "error", "warning", "unchecked", "note", "ok"


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
    the CNI error code of the same fault in a call, 0 when there is none.
    """

    severity: str
    subject: str
    reason: str
    fix: str = ""
    place: Place | None = None
    code: int = 0

    def to_wire(self) -> dict[str, Any]:
        """The finding as JSON, without empty keys."""
        wire: dict[str, Any] = {"severity": self.severity}
        if self.place is not None:
            wire["file"] = self.place.file
            if self.place.line:
                wire |= {"line": self.place.line, "column": self.place.column}
        wire |= {"subject": self.subject, "reason": self.reason}
        return wire | {k: v for k, v in (("fix", self.fix), ("code", self.code)) if v}


def of_error(
    error: CNIError, subject: str, severity: str = ERROR, *, place: Place | None = None
) -> Finding:
    """An error as a finding about *subject*."""
    return Finding(severity, subject, error.said, error.fix, place, error.number)


def worst(findings: Iterable[Finding]) -> str:
    """The worst severity among *findings*; ``OK`` when there is none."""
    order = (ERROR, WARNING, UNCHECKED, NOTE, OK)
    return min((each.severity for each in findings), key=order.index, default=OK)
