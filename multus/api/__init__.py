"""What plugins import: the hooks, the values that they are given, and what they may use.

A plugin imports ``hookimpl`` from ``multus``, and public modules.  A module is public when it
stands in a package of ``PUBLIC`` and neither it nor a package on its way begins with an underscore.
Of a public module every name is public that is in its ``__all__``; without one, every name that it
defines and that does not begin with an underscore.  All else may change in any release.
``docs/stability.md`` says what may change of this, and when.

JSON keys live in the ``from_wire`` and ``to_wire`` of each value and nowhere else.
"""

from __future__ import annotations

#: The packages whose modules plugins may import.
PUBLIC = ("multus.api", "multus.ipam", "multus.log", "multus.netlink", "multus.testing")
