"""Rules come, stay and go with their container and network, whatever happens between."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from multus_invoker_portmap import multus_invoker
from multus_invoker_portmap.invoker import Portmap

from multus.api.errors import CheckFailed, CNIError, InvalidConfig, KernelRefused, NotAvailable
from multus.api.execute import Executor, Finished
from multus.api.invoker import Declined
from multus.netlink import iptables
from multus.testing.faults import Damaging, Killing, dies
from multus.testing.invocation import Caller
from multus.testing.iptables import using

if TYPE_CHECKING:
    from conftest import Place

BOTH = ((8080, 80, "tcp"), (5353, 53, "udp"))


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that are run, one after the other."""
    run: list[str] = []
    original = Executor.run

    def counting(self: Executor, argv: Any, *arguments: Any) -> Finished:
        run.append(argv[0].rpartition("/")[2])
        return original(self, argv, *arguments)

    monkeypatch.setattr(Executor, "run", counting)
    return run


def test_no_program_is_run_where_iptables_uses_nf_tables(place: Place, programs: list[str]) -> None:
    config = place.config("iptables", *BOTH)
    place.add(config)  # the process learns how this machine's iptables stores rules
    place.delete(config)
    for entry in ("iptables", "ip6tables"):
        for option in ("-F", "-X"):
            place.host.run(entry, "-t", "nat", option)
    programs.clear()
    for _ in range(2):  # the first one on the node finds no shared chains
        place.add(config)
        place.check(config)
        place.delete(config)
    assert place.rules() == []
    other = place.config("nftables", *BOTH)
    for step in (place.add, place.check, place.delete):
        step(other)
    for step in (place.add, place.check, place.delete):
        step(place.config("iptables"))
    assert programs == []


def test_the_older_interface_takes_one_program_for_each_family(
    place: Place, programs: list[str]
) -> None:
    config = place.config("iptables", *BOTH)
    with using("legacy"):
        place.add(config)
        place.delete(config)
        programs.clear()
        place.add(config)
        place.check(config)
        assert programs == 2 * ["iptables-legacy-restore", "ip6tables-legacy-restore"]


def test_hundreds_of_ports_are_mapped_at_once(place: Place) -> None:
    ports = [(port, 80, "tcp") for port in range(1000, 1300)]
    config = place.config("nftables", *ports)
    place.add(config)
    place.check(config)
    assert len(place.rules("dnat to")) == 2 * len(ports)
    place.delete(config)
    assert place.rules() == []


def test_del_removes_the_rules_of_either_backend(place: Place, backend: str) -> None:
    other = "nftables" if backend == "iptables" else "iptables"
    place.add(place.config(backend, *BOTH))
    assert len(place.rules()) >= 4
    place.pod.remove()
    for known in (False, True):
        place.delete(place.config(other, *BOTH, markMasqBit="wrong"), known=known)
        assert place.rules() == []


def test_a_repeated_add_adds_nothing_to_iptables(place: Place) -> None:
    more = {"conditionsV4": ["!", "-d", "10.1.2.3"]}
    config = place.config("iptables", *BOTH, **more)
    place.add(config)
    before = place.rules("CNI-")
    place.add(config)
    assert place.rules("CNI-") == before
    # What others flushed is there again.
    place.host.run("iptables", "-t", "nat", "-F", "PREROUTING")
    place.host.run("iptables", "-t", "nat", "-F", "CNI-HOSTPORT-SETMARK")
    with pytest.raises(CheckFailed):
        place.check(config)
    place.add(config)
    assert sorted(place.rules("CNI-")) == sorted(before)


def test_nftables_rules_of_others_stay(place: Place) -> None:
    config = place.config("nftables", *BOTH)
    other = evolve(place.caller, container_id="other")
    place.add(config)
    place.add(config, caller=other)
    inner = {4: "10.91.0.2", 6: "fd91::2"}
    second = evolve(place, inner=inner)
    second.add(place.config("nftables", (8081, 80, "tcp"), name="net2"))
    place.delete(config)
    assert len(place.rules('comment "other"')) == 7
    # Two mappings; masqueraded from itself and, with IPv4, from the host's loopback.
    assert len(place.rules("container1")) == 5
    assert all("10.91.0.2" in each or "fd91::2" in each for each in place.rules("container1"))
    with pytest.raises(CheckFailed):
        place.check(config)
    second.delete(place.config("nftables", (8081, 80, "tcp"), name="net2"), known=False)
    assert place.rules("container1") == []


def test_gc_removes_what_is_no_longer_valid(place: Place) -> None:
    config = place.config("iptables", *BOTH)
    others = [evolve(place.caller, container_id=each) for each in ("gone1", "gone2")]
    for each in (place.caller, *others):
        place.add(config, caller=each)
    place.add({**config, "name": "net2"}, caller=others[0])
    place.gc(config, [place.caller])
    assert place.rules("gone2") == []
    assert all('"net2' in each.replace("\\", "") for each in place.rules("gone1"))
    assert place.rules("gone1")
    place.check(config)


def test_containers_that_come_at_once_share_chains(place: Place, backend: str) -> None:
    config = place.config(backend, *BOTH)
    callers = [Caller(f"many{number}", place.pod.path) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda each: place.add(config, caller=each), callers))) == 4
        for each in callers:
            assert len(place.rules(each.container_id)) >= 4
        list(pool.map(lambda each: place.delete(config, caller=each), callers))
    assert place.rules("many") == []
    shared = place.rules("-A PREROUTING") if backend == "iptables" else place.rules("fib daddr")
    assert len(shared) == (2 if backend == "iptables" else 4)


def test_an_error_or_a_kill_at_any_message_leaves_nothing(place: Place, backend: str) -> None:
    config = place.config(backend, *BOTH)
    places = [0]
    place.add(config, Portmap(Damaging.at(-1, places)))
    place.delete(config)
    assert places[0] >= 3
    # A batch is one transaction: its ends and one message in it, and all that follow.
    for target in {0, 1, places[0] // 2, *range(max(0, places[0] - 6), places[0])}:
        # An error of what only concerns old connections is no error of the ADD.
        with contextlib.suppress(KernelRefused):
            place.add(config, Portmap(Damaging.at(target)))
        place.delete(config)
        assert (target, place.rules()) == (target, [])
        add = Portmap(Killing.at(target))
        assert dies(lambda add=add: place.add(config, add))  # type: ignore[misc]
        place.delete(config)
        assert (target, place.rules()) == (target, [])


def test_del_can_be_repeated_after_an_error_or_a_kill(place: Place, backend: str) -> None:
    config = place.config(backend, *BOTH)
    target, died = 0, True
    while died:
        place.add(config)
        try:
            place.delete(config, Portmap(Damaging.at(target)))
        except CNIError:
            assert place.rules() or backend == "iptables"
        delete = Portmap(Killing.at(target))
        died = dies(lambda delete=delete: place.delete(config, delete))  # type: ignore[misc]
        place.delete(config)
        assert (target, place.rules()) == (target, [])
        target += 1
    assert target >= 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"conditionsV4": ["--modprobe=/bin/sh"]}, "conditionsV4"),
        ({"conditionsV4": ["-m", "tcp", "-M", "/bin/sh"]}, "conditionsV4"),
        ({"conditionsV4": ["-s\n-A OUTPUT"]}, "argument"),
        ({"backend": "nftables", "conditionsV4": 5}, "conditionsV4"),
        ({"externalSetMarkChain": "A -j B"}, "externalSetMarkChain"),
        ({"backend": "ebtables"}, "backend"),
        ({"backend": "nftables", "conditionsV6": ["-s", "fd00::/8"]}, "conditionsV6"),
        (
            {"runtimeConfig": {"portMappings": [{"hostPort": 1, "protocol": "tcp"}]}},
            "containerPort",
        ),
        (
            {
                "runtimeConfig": {
                    "portMappings": [
                        {"hostPort": 1, "containerPort": 1, "protocol": "tcp", "hostIP": "10.1"}
                    ]
                }
            },
            "hostIP",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_value_is_named_before_anything_is_done(more: dict[str, Any], said: str) -> None:
    config = {"type": "portmap", "backend": "iptables", "runtimeConfig": {}, **more}
    if not config["runtimeConfig"]:
        ports = [{"hostPort": 1, "containerPort": 1, "protocol": "tcp"}]
        config["runtimeConfig"] = {"portMappings": ports}
    with pytest.raises(InvalidConfig, match=said):
        Portmap().prepare(Caller().invocation("ADD", config))


def test_without_iptables_only_who_asks_for_it_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(iptables, "_FOLDERS", ("/nonexistent",))
    asked = place.config("iptables", *BOTH)
    for verb in (Portmap().status, Portmap().prepare):
        with pytest.raises(NotAvailable, match="iptables"):
            verb(place.caller.invocation("STATUS", asked))
    any_will_do = {key: value for key, value in asked.items() if key != "backend"}
    Portmap().status(place.caller.invocation("STATUS", any_will_do))
    place.add(any_will_do)
    assert place.rules("cni_hostport")
    place.delete(any_will_do)
    assert place.rules() == []


def test_rules_of_the_older_interface_are_removed(place: Place) -> None:
    config = place.config("iptables", *BOTH)
    with using("legacy"):
        for _ in range(2):
            place.add(config)
            place.check(config)
        for program in ("iptables-legacy-save", "ip6tables-legacy-save"):
            assert "CNI-DN-" in place.host.run(program, "-t", "nat")
        place.delete(config)
    for program in ("iptables-legacy-save", "ip6tables-legacy-save"):
        assert "CNI-DN-" not in place.host.run(program, "-t", "nat")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"conditionsV4": ["ip daddr 10.1.2.3"], "backend": "nftables"}, "conditionsV4"),
        ({"conditionsV6": ["ip6 daddr fd00::1"]}, "conditionsV6"),
        ({"other": 1}, "other"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_only_the_binary_understands_is_left_to_it(more: dict[str, Any], said: str) -> None:
    decide: Callable[..., Any] = multus_invoker
    for config, serves in (({}, True), (more, False)):
        one = Caller().invocation("ADD", {"type": "portmap", **config})
        answer = decide(one.plugin, one.delegate, one.conf)
        assert isinstance(answer, Portmap) is serves
    assert isinstance(answer, Declined) and said in answer.reason
