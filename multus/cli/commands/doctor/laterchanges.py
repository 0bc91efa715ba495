"""Changes of API objects that DELs have kept in files while the API server was away."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from multus.cli.commands.doctor.places import Node
from multus.cli.findings import WARNING, Finding, Place
from multus.cli.looking import Look
from multus.kube.keptedits import DAMAGED, FOLDER

_SUBJECT = "kept DELs"


def about(folders: Iterable[str], node: Node, sight: Look) -> Iterator[Finding]:
    """A finding for each ``cniDir`` of *folders* that has some."""
    for cni_dir in folders:
        folder = os.path.join(cni_dir, FOLDER)
        names = sight.listed(node.places.at(folder))
        waiting = [each for each in names if each.isdecimal()]
        damaged = [each for each in names if each.startswith(DAMAGED)]
        if waiting:
            reason = f"{len(waiting)} change(s) of API objects wait in {folder}"
            fix = "check that the API server answers; the daemon's log has the reason"
            yield Finding(WARNING, _SUBJECT, reason, fix, Place(folder))
        if damaged:
            reason = f"{len(damaged)} damaged file(s) of changes are in {folder}"
            fix = "run 'multus ipam reconcile', then delete them"
            yield Finding(WARNING, _SUBJECT, reason, fix, Place(folder))
