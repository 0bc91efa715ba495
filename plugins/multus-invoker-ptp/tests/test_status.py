from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from multus_invoker_ptp.invoker import Ptp

from multus.api.errors import InvalidConfig, MissingPlugin, NotAvailable
from multus.netlink import iptables
from multus.testing.invocation import Caller

if TYPE_CHECKING:
    from conftest import Host

V4 = [{"subnet": "10.90.0.0/24"}]


@pytest.fixture
def without_iptables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iptables, "_FOLDERS", ("/nonexistent",))


def test_status_of_what_could_be_served_is_good(host: Host) -> None:
    Ptp().status(Caller().invocation("STATUS", host.config(V4, ipMasq=True)))


def test_status_says_what_is_wrong_with_the_configuration(host: Host) -> None:
    with pytest.raises(InvalidConfig, match="mtu"):
        Ptp().status(Caller().invocation("STATUS", host.config(V4, mtu=-1)))
    with pytest.raises(InvalidConfig, match="ipam"):
        Ptp().status(Caller().invocation("STATUS", {**host.config(V4), "ipam": {}}))


@pytest.mark.usefixtures("without_iptables")
def test_without_iptables_only_who_asks_for_it_is_refused(host: Host, caller: Caller) -> None:
    asked = host.config(V4, ipMasq=True, ipMasqBackend="iptables")
    with pytest.raises(NotAvailable, match="iptables"):
        Ptp().status(caller.invocation("STATUS", asked))
    with pytest.raises(MissingPlugin, match="iptables"):
        host.add(caller, asked)
    assert host.left() == []
    any_will_do = host.config(V4, ipMasq=True)
    Ptp().status(caller.invocation("STATUS", any_will_do))
    host.add(caller, any_will_do)
    assert "cni_plugins_masquerade" in host.node.run("nft", "list", "ruleset")
    host.delete(caller, any_will_do)
