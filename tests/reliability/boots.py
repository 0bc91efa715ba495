"""Verbs of random histories: the node is started again, and it heals itself."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from reliability.ground import Ground
from reliability.test_healing import heal, rewritten
from waiting import eventually

from multus.netlink import links, open_channel
from multus.state.journal import Journal
from multus.state.liveness import OF_ANOTHER_BOOT
from multus.state.record import Record


class Boots(RuleBasedStateMachine):
    """What a history has of the node's boots; ``attached`` and ``dirty`` are its model."""

    base: Ground
    attached: set[str]
    dirty: set[str]
    faults: set[str]

    @precondition(lambda self: not self.faults)
    @rule()
    def reboot(self) -> None:
        """All containers are gone with the boot, and their records stay.

        Other namespaces are at the same paths, as a runtime may name them after a boot.
        """
        self._count("reboot")
        self._outlive()
        for netns in self.base.pods.values():
            netns.remove()
        eventually(lambda: not any(each.startswith("veth") for each in _names_of_links()))
        for netns in self.base.pods.values():
            subprocess.run(["ip", "netns", "add", netns.name], check=True)
            netns.ip("link", "set", "lo", "up")
        for record in Path(self.base.cni_dir).glob("*:eth0"):
            rewritten(record, boot=secrets.token_hex(16), started=1.0)
        self.dirty |= self.attached
        self.attached.clear()

    @rule()
    def heal(self) -> None:
        """The node heals itself: nothing of an earlier boot is left."""
        self._count("heal")
        self._outlive()
        gone = self._of_earlier_boots()
        problems = [each.problem for each in heal(self.base) if each.problem]
        if "binary" not in self.faults:
            assert problems == []
            assert self._of_earlier_boots() == set()
        self.dirty -= gone - self._of_earlier_boots()

    def _of_earlier_boots(self) -> set[str]:
        """The containers whose record is of an earlier boot."""
        return {
            each.request.container_id
            for each in Journal(self.base.cni_dir).records()
            if isinstance(each, Record) and each.netns_identity == OF_ANOTHER_BOOT
        }

    def _outlive(self) -> None:
        raise NotImplementedError

    def _count(self, what: str) -> None:
        raise NotImplementedError


def _names_of_links() -> list[str]:
    with open_channel() as host:
        return [each.name for each in links.list_all(host)]
