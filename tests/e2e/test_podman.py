"""podman runs containers whose networks are Multus': by its CNI backend, or in their namespace."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.podman import PodmanHost
from multus.testing.command import CommandFailed
from multus.testing.delegates import BinDir
from multus.testing.netns import Node
from multus.testing.runtime import Container, Runtime

Conf = Callable[..., dict[str, Any]]


def test_a_container_shows_all_interfaces(
    podman_host: PodmanHost, cni_node: Node, conf: Conf, tmp_path: Path
) -> None:
    podman_host.network("three", conf())
    before = cni_node.state(str(tmp_path / "ipam"), str(tmp_path / "multus"))
    shown = podman_host.run("three", "ip", "address")
    for ifname, address in (
        ("eth0", "10.91.0.2/24"),
        ("net0", "10.92.0.2/24"),
        ("net1", "10.93.0.7/24"),
    ):
        assert ifname in shown and address in shown, shown
    after = cni_node.state(str(tmp_path / "ipam"), str(tmp_path / "multus"))
    assert before.difference(after) == []


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0"])
def test_all_of_them_are_in_the_result_when_asked_for(
    podman_host: PodmanHost, conf: Conf, version: str
) -> None:
    podman_host.network("three", conf(merger="all", cniVersion=version))
    podman_host.start("three", "c1")
    inspected = podman_host.podman("inspect", "c1")
    assert "10.91.0.2" in inspected
    podman_host.remove("c1")


def test_two_containers_reach_one_another(podman_host: PodmanHost, conf: Conf) -> None:
    delegates = [each for each in conf()["delegates"] if each["type"] != "macvlan"]
    podman_host.network("two", conf(delegates=delegates))
    for name in ("c1", "c2"):
        podman_host.start("two", name)
    other = podman_host.inside("c2", "ip", "-4", "address", "show", "dev", "eth0")
    address = other.split("inet ")[1].split("/")[0]
    listen = subprocess.Popen(  # ends with the container, at the latest
        podman_host.command("exec", "c2", "nc", "-l", "-p", "7000"),
        env=podman_host.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        say = f"echo hello | nc -w 1 {address} 7000 && break; sleep 1"
        podman_host.inside("c1", "sh", "-c", f"for i in 1 2 3 4 5; do {say}; done")
        assert listen.communicate(timeout=30)[0] == "hello\n"
    finally:
        listen.kill()
    for name in ("c1", "c2"):
        podman_host.remove(name)


def test_a_network_that_fails_fails_the_container_and_leaves_nothing(
    podman_host: PodmanHost, cni_node: Node, conf: Conf, tmp_path: Path
) -> None:
    delegates = [*conf()["delegates"], {"type": "ptp", "mtu": 10, "ipam": {"type": "static"}}]
    podman_host.network("broken", conf(delegates=delegates))
    before = cni_node.state(str(tmp_path / "ipam"), str(tmp_path / "multus"))
    with pytest.raises(CommandFailed, match="net2"):
        podman_host.run("broken", "true")
    after = cni_node.state(str(tmp_path / "ipam"), str(tmp_path / "multus"))
    assert before.difference(after) == []


def test_a_container_of_any_podman_joins_a_namespace_that_has_its_networks(
    plain_podman: PodmanHost,
    conf: Conf,
    cni_bin: BinDir,
    cni_runtime: Runtime,
    cni_container: Container,
) -> None:
    cni_bin.real()
    cni_runtime.add(conf(), cni_container).require()
    shown = plain_podman.run(f"ns:{cni_container.netns}", "ip", "address")
    for address in ("10.91.0.2/24", "10.92.0.2/24", "10.93.0.7/24"):
        assert address in shown, shown
    cni_runtime.delete(conf(), cni_container).require()
