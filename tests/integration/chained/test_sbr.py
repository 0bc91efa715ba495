"""Source-based routing: what the reference's older releases lack, errors, and DEL."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from multus.api.errors import CheckFailed, InvalidConfig, KernelRefused
from multus.netlink import Namespace
from multus.testing.invocation import Caller
from multus.testing.session import new_session

if TYPE_CHECKING:
    from integration.chained.conftest import Chain

SBR: dict[str, Any] = {"type": "sbr"}
OURS = [("10.7.0.2", "100"), ("fd07::2", "101")]


def test_each_address_has_a_table_and_the_main_one_is_empty(chain: Chain) -> None:
    assert chain.call("ADD", SBR) == chain.before
    assert chain.rules() == OURS
    assert chain.routes("100") == ["default 10.7.0.1", "10.7.0.0/24 10.7.0.2"]
    assert chain.routes() == []
    chain.call("CHECK", SBR)


def test_a_configured_gateway_precedes_the_results(chain: Chain) -> None:
    chain.pod.ip("route", "delete", "default")
    chain.call("ADD", {**SBR, "gateways": ["10.7.0.9", "fd07::9"]})
    assert chain.routes("100")[0] == "default 10.7.0.9"
    shown = chain.pod.ip("-6", "route", "show", "table", "101")
    assert "fd07::9" in [each.get("gateway") for each in shown]


def test_with_hints_the_networks_stay_in_the_main_table(chain: Chain) -> None:
    chain.call("ADD", {**SBR, "addSourceHints": True})
    assert chain.routes() == ["10.7.0.0/24 10.7.0.2"]
    assert chain.routes("100")[0] == "default 10.7.0.1"


def test_a_table_that_is_named_is_left_as_it_is(chain: Chain) -> None:
    config = {**SBR, "table": 77}
    before = chain.routes()
    chain.call("ADD", config)
    assert chain.rules() == [("10.7.0.2", "77"), ("fd07::2", "77")]
    assert (chain.routes(), chain.routes("all")[: len(before)]) == (before, before)
    chain.call("CHECK", config)
    with pytest.raises(CheckFailed):
        chain.call("CHECK", {**SBR, "table": 78})
    chain.call("DEL", {**SBR, "table": 78}, chain.before)
    assert len(chain.rules()) == 2
    chain.call("DEL", config, chain.before)
    assert chain.rules() == []


def test_tables_that_have_rules_or_routes_are_not_taken(chain: Chain) -> None:
    chain.pod.ip("route", "add", "10.8.0.0/24", "dev", "eth0", "table", "100")
    chain.pod.ip("rule", "add", "from", "10.9.9.9", "lookup", "102")
    chain.call("ADD", SBR)
    assert sorted(chain.rules()) == [("10.7.0.2", "101"), ("10.9.9.9", "102"), ("fd07::2", "103")]


@pytest.mark.parametrize("link_is_there", [True, False])
@pytest.mark.parametrize("result_is_there", [True, False])
def test_del_removes_the_rules(chain: Chain, link_is_there: bool, result_is_there: bool) -> None:
    chain.call("ADD", SBR)
    chain.pod.ip("rule", "add", "from", "10.9.9.9", "lookup", "102")
    if not link_is_there:
        chain.pod.ip("link", "delete", "eth0")
    for _twice in range(2):
        chain.call("DEL", SBR, chain.before if result_is_there else None)
    known = link_is_there or result_is_there
    assert (("10.7.0.2", "100") not in chain.rules()) is known
    assert ("10.9.9.9", "102") in chain.rules()


def test_check_finds_a_rule_that_is_missing(chain: Chain) -> None:
    chain.call("ADD", SBR)
    chain.pod.ip("-6", "rule", "delete", "from", "fd07::2")
    with pytest.raises(CheckFailed, match="fd07::2/128 is missing"):
        chain.call("CHECK", SBR)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"gateways": ["no"]}, "gateways"),
        ({"gateways": ["10.7.0.1", "10.7.0.2"]}, "two of IPv4"),
        ({"table": 0}, "table"),
        ({"table": "x"}, "table"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_done(
    chain: Chain, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidConfig, match=said):
        chain.call("ADD", {**SBR, **wrong})
    chain.call("DEL", {**SBR, **wrong}, chain.before)
    assert chain.rules() == []


def test_an_interface_without_addresses_is_refused(chain: Chain) -> None:
    with pytest.raises(InvalidConfig, match="no address"):
        chain.call("ADD", SBR, evolve(chain.before, ips=()))


def test_a_second_sbr_for_an_address_is_refused_by_name(chain: Chain) -> None:
    chain.call("ADD", SBR)
    with pytest.raises(InvalidConfig, match="already") as caught:
        chain.call("ADD", SBR)
    assert "sbr once" in caught.value.fix
    chain.call("DEL", SBR, chain.before)
    assert chain.rules() == []


def test_another_process_that_chooses_tables_in_the_container_is_waited_for(chain: Chain) -> None:
    from multus_invoker_routes.sbr import Sbr

    with Namespace(chain.pod.path) as other, new_session() as session:
        fcntl.flock(other.fd, fcntl.LOCK_EX)
        session.deadline = 0.0
        invocation = Caller("c", chain.pod.path).invocation(
            "ADD", SBR, chain.before, session=session
        )
        with pytest.raises(KernelRefused, match="holds the lock"):
            Sbr().add(invocation)
    chain.call("ADD", SBR)
