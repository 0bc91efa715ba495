"""What plugins import: the hooks, their argument values, and the functions that plugins may use.

A plugin imports ``hookimpl`` from ``multus``, and public modules.  A module is public when it is in
a package of ``PUBLIC`` and no part of its path begins with an underscore.  The public names of a
module are those in its ``__all__``; without one, all names that it defines and that do not begin
with an underscore.  Everything else may change in any release.  ``docs/stability.md`` says what may
change in the public part, and when.

JSON keys live in the ``from_wire`` and ``to_wire`` of each value and nowhere else.
"""

from __future__ import annotations

#: The packages whose modules plugins may import.
PUBLIC = (
    "multus.api",
    "multus.inprocess",
    "multus.ipam",
    "multus.log",
    "multus.netlink",
    "multus.testing",
)
