"""The records of pods: which containers of a pod the journals of this node know."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from attrs import frozen

from multus.api.errors import CNIError
from multus.state.journal import Journal

#: Two changes of a folder within one tick of the kernel's clock have one time, in nanoseconds.
_TICK_NS = 50_000_000


@frozen
class Recorded:
    """The record of one container."""

    cni_dir: str
    container_id: str
    ifname: str


class PodRecords:
    """The records under *folders*, by pod; a record is read once, a folder when it has changed."""

    def __init__(self, folders: Callable[[], Iterable[str]]) -> None:
        self._folders = folders
        self._seen: dict[str, int] = {}
        self._pods: dict[Recorded, str] = {}

    def of(self, namespace: str, name: str) -> list[Recorded]:
        """The records of a pod's containers; of one with several records, none.

        Such a container's status is about all of them, and no look sees more than one.
        """
        for folder in self._folders():
            self._refresh(folder)
        pod = f"{namespace}/{name}"
        found = [record for record, known in self._pods.items() if known == pod]
        containers = [each.container_id for each in found]
        return [each for each in found if containers.count(each.container_id) == 1]

    def _refresh(self, folder: str) -> None:
        try:
            moment = os.stat(folder).st_mtime_ns
        except OSError:
            moment = 0
        if moment == self._seen.get(folder):
            return
        journal = Journal(folder)
        try:
            known = journal.keys()
            there = {Recorded(folder, *key) for key in known}
        except CNIError:
            there = set()
        for gone in [each for each in self._pods if each.cni_dir == folder and each not in there]:
            del self._pods[gone]
        for each in there - self._pods.keys():
            # One that cannot be read is left to CHECK and DEL, which say so.
            with suppress(CNIError, OSError):
                record = journal.find(each.container_id, each.ifname)
                if record is not None:
                    self._pods[each] = str(record.request.pod or "")
        self._seen[folder] = moment if time.time_ns() - moment > _TICK_NS else -1
