"""The CNI versions that we speak, in order, and how two sides agree on one.

Source: CNI specification 1.1.0, sections "Version" and "Version considerations".
"""

from __future__ import annotations

from collections.abc import Iterable

SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

#: What a configuration without ``cniVersion`` speaks.
IMPLICIT = "0.1.0"

#: The version whose result holds all that the others' do.
NEWEST = SUPPORTED[-1]


def at_least(version: str, floor: str) -> bool:
    """Whether *version*, one of ``SUPPORTED``, is *floor* or newer."""
    return SUPPORTED.index(version) >= SUPPORTED.index(floor)


def highest_common(theirs: Iterable[str]) -> str | None:
    """The newest of *theirs* that we speak too; None when there is none."""
    known = set(theirs)
    return next((version for version in reversed(SUPPORTED) if version in known), None)
