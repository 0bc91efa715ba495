"""The reference portmap and the in-process one make, check and remove the same rules."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from integration.interchange.conftest import differences
from integration.interchange.test_ptp import WAYS, config_of
from multus.api.errors import CNIError
from multus.api.result import Result
from multus.testing.command import CommandFailed
from multus.testing.runtime import CallFailed

if TYPE_CHECKING:
    from integration.interchange.conftest import Json, Place, Side

WEB: Json = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
DNS: Json = {"hostPort": 5353, "containerPort": 53, "protocol": "udp"}
#: More ports than one rule of multiport takes, of which some have a host's address.
MANY: list[Json] = [
    *({**WEB, "hostPort": port, "protocol": "TCP"} for port in range(9000, 9017)),
    {**WEB, "hostIP": "10.7.7.7"},
    {**WEB, "hostPort": 8081, "hostIP": "0.0.0.0"},
    {**DNS, "hostIP": "fd07::7"},
    {**DNS, "hostPort": 5354, "protocol": "sctp", "hostIP": "::"},
]

CASES: dict[str, Json] = {
    "everything": {"ports": [WEB, DNS]},
    "many": {"ports": MANY, "markMasqBit": 31},
    "no snat": {"ports": [WEB], "snat": False},
    "another's mark": {"ports": [WEB], "externalSetMarkChain": "MARK-IT"},
    "conditions": {
        "ports": [WEB],
        "conditionsV4": ["!", "-d", "10.0.0.1", "-m", "comment", "--comment", 'a "b" \\ c'],
        "conditionsV6": ["-i", "eth+"],
    },
}


def portmap(ports: list[Json], **keys: object) -> Json:
    """A configuration of portmap with these mappings."""
    runtime = {"portMappings": ports}
    # The type stands beside its configuration in the folder of the reference.
    return {"cniVersion": "1.0.0", "name": "p", "type": "portmap", "runtimeConfig": runtime, **keys}


def attached(place: Place, sides: dict[str, Side]) -> Json:
    """The result of a bridge network, for a portmap to follow."""
    for program in ("iptables", "ip6tables"):
        place.node.run(program, "-t", "nat", "-N", "MARK-IT")
    config = config_of(place, "static", "dual", type="bridge", isGateway=True, ipMasq=True)
    return sides["ours"].add(place, config)


def rules(place: Place) -> list[str]:
    """The table nat of both families, without counters."""
    return [
        line.partition(" [")[0]
        for program in ("iptables-save", "ip6tables-save")
        for line in place.node.run(program, "-t", "nat").splitlines()
        if line[:1] in (":", "-")
    ]


def passes(side: Side, place: Place, config: Json, result: Json) -> bool:
    try:
        side.check(place, config, result)
    except CallFailed:
        return False
    return True


def require_true_answers(place: Place) -> None:
    """Skip the test where the reference is told that rules exist which do not, and adds none.

    In release 1.8.9, with the older interface, ``ip6tables -C`` compares only what kinds of match
    and target a rule has.
    """
    rule = ("PROBE", "-p", "tcp", "-j", "RETURN", "--dport")
    nat = ("ip6tables", "-t", "nat")
    place.node.run(*nat, "-N", "PROBE")
    place.node.run(*nat, "-A", *rule, "1")
    with suppress(CommandFailed):
        place.node.run(*nat, "-C", *rule, "2")
        pytest.skip("ip6tables -C finds rules that do not exist")
    place.node.run(*nat, "-F", "PROBE")
    place.node.run(*nat, "-X", "PROBE")


@pytest.mark.parametrize(("first", "second"), WAYS)
@pytest.mark.parametrize("case", CASES)
def test_what_one_mapped_the_other_checks_and_removes(
    place: Place, sides: dict[str, Side], first: str, second: str, case: str
) -> None:
    if case == "many" and first == "reference":
        require_true_answers(place)
    before, config = attached(place, sides), portmap(**CASES[case])
    result = sides[first].add(place, config, before)
    assert Result.from_wire(result) == Result.from_wire(before)
    assert any("CNI-DN-" in rule for rule in rules(place))
    if not passes(sides[second], place, config, result):
        # Releases of the reference before 1.2 look for each family's rules in both.
        sides[first].delete(place, config, result)
        sides[second].add(place, config, before)
        assert not passes(sides[second], place, config, result)
    sides[second].delete(place, config, result)
    assert [rule for rule in rules(place) if "CNI-DN-" in rule] == []
    sides[first].delete(place, config, result)


@pytest.mark.parametrize("case", CASES)
def test_both_map_alike(new_place: Callable[[], Place], sides: dict[str, Side], case: str) -> None:
    shown = []
    for side in sides.values():
        place = new_place()
        if case == "many":
            require_true_answers(place)
        before, config = attached(place, sides), portmap(**CASES[case])
        after = []
        side.add(place, config, before)
        after.append(rules(place))
        side.add(place, config, before)
        after.append(rules(place))
        side.delete(place, config, before)
        after.append(rules(place))
        localnet = place.node.run("cat", "/proc/sys/net/ipv4/conf/cni0/route_localnet")
        shown.append((after, localnet))
    assert list(differences(shown[0], shown[1])) == []


@pytest.mark.parametrize("side", ["ours", "reference"])
def test_without_mappings_nothing_is_done(place: Place, sides: dict[str, Side], side: str) -> None:
    before = attached(place, sides)
    empty = rules(place)
    for config in (portmap([]), {**portmap([]), "runtimeConfig": {}}):
        result = sides[side].add(place, config, before)
        assert Result.from_wire(result) == Result.from_wire(before)
        sides[side].check(place, config, before)
        sides[side].delete(place, config)
    assert rules(place) == empty


@pytest.mark.parametrize(
    "gone",
    [
        ("-F", "CNI-HOSTPORT-DNAT"),
        ("-D", "CNI-DN", "1"),
    ],
    ids=["jumps", "rule"],
)
def test_neither_passes_what_is_changed(
    place: Place, sides: dict[str, Side], gone: tuple[str, ...]
) -> None:
    before, config = attached(place, sides), portmap([WEB])
    result = sides["ours"].add(place, config, before)
    chain = next(rule for rule in rules(place) if rule.startswith(":CNI-DN-")).split()[0][1:]
    place.node.run(
        "ip6tables", "-t", "nat", *(chain if each == "CNI-DN" else each for each in gone)
    )
    for side in sides.values():
        with pytest.raises((CNIError, CallFailed)):
            side.check(place, config, result)


@pytest.mark.parametrize(
    "wrong",
    [
        portmap([{**WEB, "hostPort": 0}]),
        portmap([{**WEB, "containerPort": 65536}]),
        portmap([{**WEB, "protocol": "none"}]),
        portmap([WEB], markMasqBit=32),
        portmap([WEB], markMasqBit=1, externalSetMarkChain="MARK-IT"),
        portmap([WEB], externalSetMarkChain="NOT-THERE"),
        portmap([WEB], conditionsV4=["--no-such-option"]),
    ],
    ids=["host", "container", "protocol", "bit", "two marks", "chain", "condition"],
)
def test_both_refuse(place: Place, sides: dict[str, Side], wrong: Json) -> None:
    before = attached(place, sides)
    for side in sides.values():
        with pytest.raises((CNIError, CallFailed)):
            side.add(place, wrong, before)
        if side.name == "ours":
            side.delete(place, wrong, before)
        assert [rule for rule in rules(place) if "CNI-DN-" in rule and side.name == "ours"] == []
