"""The owners of VFs: locks, marks and records under ``cniDir``.

The files are those of the SR-IOV plugin's binary::

    pci/vf_lock/<PCI address>.lock    flock(2), held while a VF is changed
    pci/<PCI address>                 the mark: the netns path of the VF's owner
    <container ID>-<interface>        the record: the configuration, and the VF's state before

The record is written before the first change, and the mark after the record: a record without a
mark means that nothing was changed yet.  A mark is stale when its namespace is gone.  A mark with
another path than the record's means that the VF has a new owner.  (The binary writes its record
last.)

Only regular files are opened, written and removed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from attrs import field, frozen

from multus.api import atomic, regular
from multus.api.errors import IOFailure, StateDamaged, TryAgainLater
from multus.api.regular import NotRegular
from multus_invoker_sriov.vf import ATTRIBUTES, VfState

#: The largest record or mark that is read, in bytes.
_LARGEST = 1024 * 1024


@frozen
class Before:
    """A VF's state before ADD: its attributes, and its interface on the host.

    Without an interface (``name`` is empty), ``driver`` is the userspace driver that it had.
    """

    state: VfState
    driver: str = ""
    name: str = ""
    mac: str = ""
    mtu: int = 0
    up: bool = False
    kind: str = ""


@frozen
class Record:
    """A VF that is assigned to one interface of a container.

    ``attachment`` is the interface name of the runtime, ``ifname`` the name in the container.
    ``config`` is the plugin's configuration, ``mac`` the requested MAC, and ``changed`` names the
    attributes that were set.
    """

    container_id: str
    attachment: str
    netns: str
    ifname: str
    pci: str
    pf: str
    index: int
    before: Before
    config: Mapping[str, Any] = field(repr=False)
    mac: str = ""
    changed: frozenset[str] = frozenset()

    @property
    def network(self) -> str:
        return str(self.config.get("name", ""))

    def to_wire(self) -> dict[str, Any]:
        """The record in the binary's form; additional fields are under ``multus``."""
        before, state = self.before, self.before.state
        return {
            **{key: value for key, value in self.config.items() if key.lower() != "mac"},
            "OrigVfState": {
                "HostIFName": before.name,
                "SpoofChk": bool(state.spoofchk),
                "Trust": bool(state.trust),
                "AdminMAC": state.mac,
                "EffectiveMAC": before.mac,
                "Vlan": state.vlan,
                "VlanQoS": state.qos,
                "VlanProto": state.proto,
                "MinTxRate": state.min_rate,
                "MaxTxRate": state.max_rate,
                "LinkState": state.link_state,
                "MTU": before.mtu,
            },
            "Master": self.pf,
            "MAC": self.mac,
            "VFID": self.index,
            "deviceID": self.pci,
            "multus": {
                "containerID": self.container_id,
                "attachment": self.attachment,
                "netns": self.netns,
                "ifname": self.ifname,
                "driver": before.driver,
                "up": before.up,
                "kind": before.kind,
                "changed": sorted(self.changed),
            },
        }

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any], path: str) -> Record:
        """Read a record of this plugin or of the binary; raises ``StateDamaged``."""
        try:
            ours, was = raw.get("multus") or {}, raw["OrigVfState"]
            state = VfState(
                mac=str(was["AdminMAC"]),
                vlan=int(was["Vlan"]),
                qos=int(was["VlanQoS"]),
                proto=int(was.get("VlanProto") or 0x8100),
                spoofchk=bool(was["SpoofChk"]),
                trust=bool(was["Trust"]),
                link_state=int(was["LinkState"]),
                min_rate=int(was["MinTxRate"]),
                max_rate=int(was["MaxTxRate"]),
            )
            before = Before(
                state=state,
                driver=str(ours.get("driver", "")),
                name=str(was["HostIFName"]),
                mac=str(was["EffectiveMAC"]),
                mtu=int(was.get("MTU", 0)),
                up=bool(ours.get("up", False)),
                kind=str(ours.get("kind", "")),
            )
            return cls(
                container_id=str(ours.get("containerID", "")),
                attachment=str(ours.get("attachment", "")),
                netns=str(ours.get("netns", "")),
                ifname=str(ours.get("ifname", "")),
                pci=str(raw["deviceID"]),
                pf=str(raw["Master"]),
                index=int(raw["VFID"]),
                before=before,
                config=dict(raw),
                mac=str(raw.get("MAC") or ""),
                changed=frozenset(map(str, ours.get("changed", ATTRIBUTES))),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateDamaged(f"{path} is not a record of a VF: {error!r}") from error


@frozen
class Claims:
    """The files under *directory*."""

    directory: str

    @contextmanager
    def locked(self, pci: str, patience: float) -> Iterator[None]:
        """Hold a VF's lock; waits *patience* seconds, then raises ``TryAgainLater``."""
        folder = f"{self.directory}/pci/vf_lock"
        with _failing(f"locking VF {pci} in {folder}"):
            for each in (self.directory, f"{self.directory}/pci", folder):
                os.makedirs(each, 0o700, exist_ok=True)
            fd = regular.opened(f"{folder}/{pci}.lock", os.O_RDONLY | os.O_CREAT)
        try:
            if not regular.locked(fd, time.monotonic() + patience):
                raise TryAgainLater(
                    f"VF {pci} is in use by another ADD or DEL (lock {folder}/{pci}.lock)",
                    fix="try again",
                )
            yield
        finally:
            os.close(fd)

    def marked(self, pci: str) -> str:
        """The netns path in a VF's mark; empty when there is no mark."""
        return _read(self._mark(pci))

    def mark(self, pci: str, netns: str) -> None:
        """Write the mark: the container in *netns* owns the VF."""
        _write(self._mark(pci), netns)

    def unmark(self, pci: str) -> None:
        """Remove the mark: the VF is free."""
        _remove(self._mark(pci))

    def tidy(self, pci: str) -> None:
        """Remove the temporary file of a mark; the VF's lock must be held."""
        with _failing(f"removing the temporary mark of VF {pci}"):
            _unlink(_new(self._mark(pci)))

    def save(self, record: Record) -> None:
        """Write a record."""
        path = self._path(record.container_id, record.attachment)
        _write(path, json.dumps(record.to_wire()))

    def load(self, container_id: str, attachment: str) -> Record | None:
        """A container's record; None when it has none.  Raises ``StateDamaged``."""
        return self._load(self._path(container_id, attachment))

    def forget(self, container_id: str, attachment: str) -> None:
        """Remove a record."""
        _remove(self._path(container_id, attachment))

    def records(self) -> list[Record]:
        """All readable records."""
        found = []
        with _failing(f"listing {self.directory}"), suppress(FileNotFoundError):
            for name in sorted(os.listdir(self.directory)):
                path = f"{self.directory}/{name}"
                if name.startswith("."):
                    continue
                with suppress(StateDamaged, NotRegular, FileNotFoundError):
                    regular.require(path)
                    record = self._load(path)
                    # The binary's records do not name container and interface, and the file's name
                    # cannot be split into them.
                    if record is not None and record.container_id:
                        found.append(record)
        return found

    def _load(self, path: str) -> Record | None:
        with suppress(FileNotFoundError, NotADirectoryError):
            try:
                regular.require(path)
            except NotRegular as error:
                raise StateDamaged(f"{path} is not a record of a VF: {error.strerror}") from error
        text = _read(path)
        if not text:
            return None
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise StateDamaged(f"{path} is not a record of a VF: {error}") from error
        return Record.from_wire(raw, path)

    def _mark(self, pci: str) -> str:
        return f"{self.directory}/pci/{pci}"

    def _path(self, container_id: str, attachment: str) -> str:
        return f"{self.directory}/{container_id}-{attachment}"


def _read(path: str) -> str:
    with _failing(f"reading {path}"), suppress(FileNotFoundError, NotADirectoryError):
        # A power cut may leave zeros.  It also resets the VFs, so the content does not matter.
        return regular.read(path, _LARGEST).decode(errors="replace").strip("\0 \r\n")
    return ""


def _write(path: str, text: str) -> None:
    """Write a file; the lock of its VF must be held.

    Nothing is fsynced: a power cut resets the VFs and ends the containers.
    """
    with _failing(f"writing {path}"):
        with suppress(FileNotFoundError):
            regular.require(path)
        atomic.write(path, text.encode(), fsync=False, temporary=_new(path))


def _remove(path: str) -> None:
    """Remove a file, and the temporary file of a killed writer."""
    for each in (path, _new(path)):
        with _failing(f"removing {each}"):
            _unlink(each)


def _unlink(path: str) -> None:
    """Remove a regular file; anything else does not belong to this plugin and stays."""
    # On a read-only file system, unlink(2) fails also for a missing file.
    with suppress(FileNotFoundError, NotADirectoryError, NotRegular):
        regular.require(path)
        os.unlink(path)


def _new(path: str) -> str:
    # A container ID cannot start with a dot.
    return f"{os.path.dirname(path)}/.{os.path.basename(path)}.new"


@contextmanager
def _failing(doing: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise IOFailure(f"{doing} failed: {why}") from error
