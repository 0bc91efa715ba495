"""Changes of API objects that DELs have kept in files while the API server was away."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from multus.cli.commands.doctor.places import Node
from multus.cli.findings import WARNING, Finding, Place
from multus.cli.looking import Look
from multus.kube.keptedits import DAMAGED, FOLDER, REFUSED

_SUBJECT = "kept DELs"
#: A reason that is longer is cut.
_LONGEST = 4096


def about(folders: Iterable[str], node: Node, sight: Look) -> Iterator[Finding]:
    """The findings for each ``cniDir`` of *folders* that has some."""
    for cni_dir in folders:
        folder = os.path.join(cni_dir, FOLDER)
        names = sight.listed(node.places.at(folder))
        refused = [each for each in names if each.isdecimal() and f"{each}{REFUSED}" in names]
        waiting = [each for each in names if each.isdecimal() and each not in refused]
        damaged = [each for each in names if each.startswith(DAMAGED)]
        if waiting:
            reason = f"{len(waiting)} change(s) of API objects wait in {folder}"
            fix = "check that the API server answers; the daemon's log has the reason"
            yield Finding(WARNING, _SUBJECT, reason, fix, Place(folder))
        for each in refused:
            yield _refused(os.path.join(folder, each), node, sight)
        if damaged:
            reason = f"{len(damaged)} damaged file(s) of changes are in {folder}"
            fix = "run 'multus ipam reconcile', then delete them"
            yield Finding(WARNING, _SUBJECT, reason, fix, Place(folder))


def _refused(path: str, node: Node, sight: Look) -> Finding:
    """A change that the API server, or its plugin, does not make: addresses stay allocated."""
    said = sight.read(node.places.at(f"{path}{REFUSED}"), _LONGEST) or b"the daemon's log says why"
    reason = f"a change of an API object is refused: {said.decode(errors='replace')}"
    fix = "remove the reason; or delete the file, and run 'multus ipam reconcile'"
    return Finding(WARNING, _SUBJECT, reason, fix, Place(path))
