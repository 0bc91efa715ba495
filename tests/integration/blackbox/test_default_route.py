"""Several networks bring a default route: the kernel has the one that the configuration means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from integration.blackbox.program import Multus
from multus.testing.netns import Netns
from multus.testing.runtime import Container

V4, V6 = "0.0.0.0/0", "::/0"


def network(multus: Multus, kind: str, number: int, *defaults: str, **keys: Any) -> dict[str, Any]:
    """A network of 10.<number>.0.0/24 and fd0<number>::/64 with these default routes."""
    pools = [[{"subnet": f"10.{number}.0.0/24"}], [{"subnet": f"fd0{number}::/64"}]]
    ipam = {
        "type": "host-local",
        "dataDir": multus.ipam_dir,
        "ranges": pools,
        "routes": [{"dst": each} for each in defaults],
    }
    return {"type": kind, "name": f"n{number}", "ipam": ipam, **keys}


def flannel(multus: Multus, folder: Path) -> dict[str, Any]:
    """As in the first documentation: the default route is of its bridge."""
    subnet = folder / "subnet.env"
    subnet.write_text(
        "FLANNEL_NETWORK=10.9.0.0/16\nFLANNEL_SUBNET=10.9.1.1/24\n"
        "FLANNEL_MTU=1400\nFLANNEL_IPMASQ=false\n"
    )
    return {
        "type": "flannel",
        "name": "flannel",
        "masterplugin": True,
        "subnetFile": str(subnet),
        "dataDir": str(folder / "flannel"),
        "ipam": {"dataDir": multus.ipam_dir},
        "delegate": {"isDefaultGateway": True, "bridge": "brf"},
        "disableCheck": True,  # the reference bridge's CHECK refuses routes without a gateway
    }


def defaults(pod: Netns, family: str = "-4") -> list[str]:
    """The interfaces of the pod's default routes, the one that is used first."""
    found = []
    for route in pod.ip(family, "route", "show", "default") or []:
        found += [each["dev"] for each in route.get("nexthops", [route])]
    return found


@pytest.fixture(params=["binaries", "in-process"])
def real(multus: Multus, request: pytest.FixtureRequest) -> Multus:
    multus.bin.real()
    if request.param == "binaries":
        return evolve(multus, keys={"invokers": dict.fromkeys(("bridge", "ptp"), "exec")})
    return multus


def test_the_primary_keeps_it_as_with_the_first_releases(
    real: Multus, cni_pod: Netns, tmp_path: Path
) -> None:
    """The example of the first documentation: three networks, each with 0.0.0.0/0."""
    real.node.bridge("brf", "10.9.1.1/24")
    others = [network(real, "ptp", 1, V4, V6), network(real, "bridge", 2, V4, V6, bridge="brf")]
    conf = real.conf(*others, flannel(real, tmp_path))
    container = Container(cni_pod.path)
    result = real.add(conf, container).result
    assert defaults(cni_pod) == ["eth0"]
    # The primary has none of IPv6: the first network with one keeps it.
    assert defaults(cni_pod, "-6") == ["net0"]
    assert [each["dst"] for each in result["routes"]][-1:] == [V4]
    real.runtime.check(conf, container, result).require()
    cni_pod.ip("route", "add", "default", "via", "10.1.0.1", "metric", "9")
    assert "net0 has the default routes" in str(real.runtime.check(conf, container, result).error)
    cni_pod.ip("route", "del", "default", "via", "10.1.0.1", "metric", "9")
    real.delete(conf, container, result).require()
    assert [each for each in real.records() if ":" in each] == []


def test_the_last_has_it_where_that_is_configured(real: Multus, cni_pod: Netns) -> None:
    networks = [network(real, "ptp", number, V4) for number in (1, 2)]
    conf = {**real.conf(*networks), "defaultRoute": "last"}
    container = Container(cni_pod.path)
    result = real.add(conf, container).result
    assert defaults(cni_pod) == ["net0", "eth0"]
    real.runtime.check(conf, container, result).require()


def test_a_network_without_a_default_route_has_no_more_steps(real: Multus, cni_pod: Netns) -> None:
    networks = [network(real, "ptp", 1, V4), network(real, "ptp", 2, "10.8.0.0/16")]
    container = Container(cni_pod.path)
    real.add(real.conf(*networks), container).require()
    (record,) = real.records()
    assert "multus-default-route" not in (Path(real.cni_dir) / record).read_text()
    assert defaults(cni_pod) == ["eth0"]
