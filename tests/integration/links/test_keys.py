"""Keys of bridge that older releases of the reference plugin do not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from integration.links.conftest import invoker_of

if TYPE_CHECKING:
    from integration.links.conftest import Host


@pytest.mark.parametrize("key", ["portIsolation", "enabledad", "disableContainerInterface"])
def test_what_a_key_asks_for_is_there_and_passes_check(host: Host, key: str) -> None:
    down = key == "disableContainerInterface"
    config = {**host.config("bridge", dual=True, isGateway=False, ipMasq=False), key: True}
    if down:
        del config["ipam"]
    result = host.add(config)
    (port,) = _ports(host)
    assert port["linkinfo"]["info_slave_data"]["isolated"] is (key == "portIsolation")
    accept = "/proc/sys/net/ipv6/conf/eth0/accept_dad"
    assert down or host.pod.run("cat", accept).strip() == ("1" if key == "enabledad" else "0")
    assert host.pod.links()["eth0"].up is not down
    with host.inside.entered():
        invoker_of(config).check(host.caller.invocation("CHECK", config, result))
    host.delete(config, result)
    assert (host.left(), host.pod.links()) == ([], {})


def _ports(host: Host) -> list[Any]:
    return list(host.node.ip("-details", "link", "show", "master", "br0"))
