"""DEL after an ADD that was refused before anything was attached: it succeeds, and only then."""

from __future__ import annotations

import json
from pathlib import Path

from integration.blackbox.program import Multus, refused
from multus.testing.netns import Netns
from multus.testing.runtime import Container


def delegate(multus: Multus, kind: str = "gone") -> dict[str, object]:
    ipam = {"type": "host-local", "subnet": "10.9.0.0/24", "dataDir": multus.ipam_dir}
    return {"name": "net", "type": kind, "ipam": ipam}


def test_what_was_never_attached_is_deleted(multus: Multus, cni_pod: Netns) -> None:
    conf, container = multus.conf(delegate(multus)), Container(cni_pod.path)
    refused(multus.add(conf, container), 106, "'gone' is not found")
    answer = multus.delete(conf, container)
    answer.require()
    assert b"was never attached" in answer.stderr
    multus.delete(conf, Container("/run/netns/none", container.id)).require()


def test_the_others_of_the_container_are_deleted_too(multus: Multus, cni_pod: Netns) -> None:
    multus.bin.stand_in("good")
    conf = multus.conf({"type": "good"}, delegate(multus))
    container = Container(cni_pod.path)
    refused(multus.add(conf, container), 106)
    multus.delete(conf, container).require()
    assert multus.bin.commands() == ["DEL good eth0"]


def test_an_interface_in_the_namespace_needs_the_plugin(multus: Multus, cni_pod: Netns) -> None:
    cni_pod.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other")
    conf, container = multus.conf(delegate(multus)), Container(cni_pod.path)
    answer = multus.delete(conf, container)
    refused(answer, 106, "'gone' is not found")
    assert b"interface eth0 is in " in answer.stderr


def test_an_address_in_the_store_needs_the_plugin(multus: Multus, cni_pod: Netns) -> None:
    conf, container = multus.conf(delegate(multus)), Container(cni_pod.path)
    held = Path(multus.ipam_dir, "net", "10.9.0.7")
    held.parent.mkdir(parents=True)
    held.write_text(f"{container.id}\r\neth0")
    answer = multus.delete(conf, container)
    refused(answer, 106)
    assert b"address 10.9.0.7 is allocated to it" in answer.stderr
    held.write_text("another\r\neth0")
    multus.delete(conf, container).require()


def test_a_record_needs_the_plugin(multus: Multus, cni_pod: Netns) -> None:
    multus.bin.stand_in("gone")
    conf, container = multus.conf(delegate(multus)), Container(cni_pod.path)
    multus.add(conf, container).require()
    Path(multus.bin.path, "gone").unlink()
    refused(multus.delete(conf, container), 106)
    assert multus.records() == [f"{container.id}:eth0"]


def test_so_does_a_record_of_the_go_multus(multus: Multus, cni_pod: Netns) -> None:
    conf, container = multus.conf(delegate(multus)), Container(cni_pod.path)
    record = Path(multus.cni_dir, container.id)
    record.parent.mkdir(mode=0o700)
    record.write_text(json.dumps([{"name": "net", "type": "gone", "masterplugin": True}]))
    record.chmod(0o600)
    refused(multus.delete(conf, container), 106)
    refused(multus.delete(conf, container), 106)


def test_and_one_that_cannot_be_read(multus: Multus, cni_pod: Netns) -> None:
    conf, container = multus.conf(delegate(multus)), Container(cni_pod.path)
    record = Path(multus.cni_dir, container.id)
    record.parent.mkdir(mode=0o700)
    record.write_text("{")
    record.chmod(0o600)
    refused(multus.delete(conf, container), 106)
    refused(multus.delete(conf, container), 106)
