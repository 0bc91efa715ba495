"""A record's values, for the tests of the journal and of its files."""

from __future__ import annotations

from typing import Any

from multus.api.network import Attachment, Delegate, Plugin
from multus.api.request import Request
from multus.api.result import IP, Interface, Result
from multus.state.journal import Journal
from multus.state.record import Planned, Record, Step

CONF = {"name": "node", "type": "multus", "cniVersion": "1.1.0", "binDir": "/opt/cni/bin"}


def request(container_id: str = "c1", ifname: str = "eth0", **keys: Any) -> Request:
    environ = {"CNI_ARGS": "K8S_POD_NAME=web"}
    return Request("ADD", container_id, "/run/netns/x", ifname, ("/bin",), environ=environ, **keys)


def planned(name: str, ifname: str, *types: str) -> Planned:
    configs = [{"type": each, "name": name, "cniVersion": "1.0.0"} for each in types or ("ptp",)]
    steps = tuple(Step(Plugin(each, "exec"), each, "exec") for each in configs)
    delegate = Delegate(name, tuple(s.plugin for s in steps), "1.0.0", f"ns/{name}", ifname=ifname)
    return Planned(delegate, steps)


FOUR = [planned(f"net{number}", f"eth{number}") for number in range(4)]


def attachment(of: Planned, address: str = "10.1.0.2/24") -> Attachment:
    link = Interface(of.delegate.ifname, "02:00:00:00:00:01", "/run/netns/x")
    count = len(of.steps)
    result = Result((link,), (IP(address, "10.1.0.1", 0),))
    return Attachment(of.delegate, result, ("1.0.0",) * count, ("exec",) * count, 0.25)


def names(record: Record) -> list[str]:
    return [record.planned[index].delegate.name for index in record.left()]


def found(journal: Journal, container_id: str = "c1", ifname: str = "eth0") -> Record:
    record = journal.find(container_id, ifname)
    assert record is not None
    return record
