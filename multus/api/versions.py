"""The CNI versions that Multus supports, in order, and negotiation of one.

Source: CNI specification 1.1.0, sections "Version" and "Version considerations".
"""

from __future__ import annotations

from collections.abc import Iterable

SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

#: The version of a configuration without ``cniVersion``.
IMPLICIT = "0.1.0"

#: The version whose result has all fields of the others.
NEWEST = SUPPORTED[-1]


def at_least(version: str, floor: str) -> bool:
    """Whether *version*, one of ``SUPPORTED``, is *floor* or newer."""
    return SUPPORTED.index(version) >= SUPPORTED.index(floor)


def highest_common(theirs: Iterable[str]) -> str | None:
    """The newest of *theirs* that Multus supports; None when there is none."""
    known = set(theirs)
    return next((version for version in reversed(SUPPORTED) if version in known), None)
