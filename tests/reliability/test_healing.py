"""What containers that are gone have left is removed; what lives, and what is others', stays."""

from __future__ import annotations

import json
import os
import subprocess
import time
from binascii import crc32
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve
from reliability.conftest import Say
from reliability.ground import Conf, Ground
from reliability.moments import start

from integration.kube.kubelet import Sandboxes
from multus.api.jsontext import encode
from multus.engine.assembly import engine_for
from multus.healing import rounds
from multus.healing.carrying import Done, Remover
from multus.healing.facts import ADDRESS, KINDS, LINK, RECORD, RULES
from multus.healing.look import Places, look
from multus.healing.plan import Plan, plan
from multus.log import Log
from multus.state.journal import Journal
from multus.state.lock import container_lock
from multus.testing.netns import HostState
from multus.testing.runtime import Container


def places(ground: Ground) -> Places:
    nowhere = f"{ground.folder}/none"
    return Places((ground.cni_dir,), addresses=ground.ipam_dir, results=nowhere)


def planned(ground: Ground, grace: float = 0.0) -> Plan:
    return plan(look(places(ground)), grace)


def heal(ground: Ground, grace: float = 0.0) -> list[Done]:
    return list(Remover((ground.cni_dir,), engine_for).carry_out(planned(ground, grace).remove))


def die(ground: Ground, name: str) -> None:
    """The container's namespace goes, and no DEL comes."""
    ground.pods.pop(name).remove()


def left(ground: Ground, before: HostState) -> list[str]:
    return [fact for fact in before.difference(ground.state()) if fact[0] == "+"]


def chained(ground: Ground) -> Conf:
    """A network with masquerading, ports and a limit on the host's side, and one of nftables."""
    plugins = [
        {"type": "ptp", "ipMasq": True, "ipam": ground.ipam(1)},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    second = {"name": "nft", "type": "ptp", "ipMasq": True, "ipam": ground.ipam(2)}
    ports = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
    every = ({"name": "chain", "plugins": plugins}, {**second, "ipMasqBackend": "nftables"})
    return ground.conf(*every, runtimeConfig={"portMappings": ports})


def rewritten(path: Path, **keys: object) -> None:
    """The record with other keys in its first line."""
    first, *others = path.read_bytes().splitlines()
    text = json.dumps({**json.loads(first[9:]), **keys}).encode()
    path.write_bytes(b"\n".join([b"%08x %s" % (crc32(text), text), *others, b""]))


def aged(path: str | Path, seconds: float = 3600.0) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def test_a_hundred_containers_whose_del_never_came(on_ground: Ground) -> None:
    ipam = {**on_ground.ipam(5), "routes": []}
    bridge = {"type": "bridge", "bridge": "br0", "ipMasq": True, "ipMasqBackend": "nftables"}
    conf = on_ground.conf({**bridge, "name": "lan", "ipam": ipam})
    on_ground.done("ADD", conf, on_ground.container("living"))
    before = on_ground.state()
    for number in range(100):
        # Four namespaces, since one takes longer to make than its containers to attach.
        pod = on_ground.container(f"pod{number % 4}")
        on_ground.done("ADD", conf, evolve(pod, id=f"c{number}", ifname=f"e{number}"))
    for number in range(4):
        die(on_ground, f"pod{number}")
    made = planned(on_ground)
    kinds = [each.kind for each in made.remove]
    assert (kinds.count(RECORD), kinds.count(ADDRESS), kinds.count(RULES)) == (100, 100, 100)
    assert [each for each in heal(on_ground) if each.problem] == []
    assert left(on_ground, before) == []
    on_ground.done("CHECK", conf, on_ground.container("living"))
    assert planned(on_ground) == Plan()


def test_a_part_of_a_round_is_bounded_and_says_what_is_not_tried_again(
    on_ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = on_ground.in_process()
    only = {**conf, "delegates": conf["delegates"][2:3]}
    for name in ("c1", "c2", "c3"):
        on_ground.done("ADD", only, on_ground.container(name))
        die(on_ground, name)
    monkeypatch.setattr(rounds, "_MOST", 2)
    monkeypatch.setattr(rounds, "_SECONDS", 600.0)
    log = Log.from_conf({"logToStderr": False, "logFile": f"{on_ground.folder}/log"})
    with container_lock(on_ground.cni_dir, "c1", 0.0):
        first = rounds.heal(places(on_ground), 0.0, (), engine_for, log)
        assert first.found == {**dict.fromkeys(KINDS, 0), RECORD: 3, ADDRESS: 3}
        assert (first.removed[RECORD], first.failed[RECORD], first.more) == (0, 1, True)
        assert (first.failed[ADDRESS], len(first.skipped)) == (1, 2)
        skip = list(first.skipped)
        second = rounds.heal(places(on_ground), 0.0, skip, engine_for, log)
        third = rounds.heal(places(on_ground), 0.0, skip, engine_for, log)
    assert (second.removed[RECORD], second.more, third.more) == (1, True, False)
    assert Journal(on_ground.cni_dir).keys() == {("c1", "eth0")}
    said = Path(on_ground.folder, "log").read_text()
    assert "healed: removed 2 thing(s)" in said and "address 10.3.0.3 of 'plain'" in said
    assert "healing: container c1, eth0 (plain) is left" in said


def test_the_oldest_container_comes_first_and_its_record_before_the_rest(
    on_ground: Ground,
) -> None:
    for name in ("b", "a"):
        on_ground.done("ADD", chained(on_ground), on_ground.container(name))
    for name, started in (("b", 100.0), ("a", 200.0)):
        die(on_ground, name)
        rewritten(Path(on_ground.cni_dir, f"{name}:eth0"), started=started)
    every = planned(on_ground).remove
    assert [each.container_id for each in every] == ["b"] * 6 + ["a"] * 6
    assert [each.kind for each in every[:6]] == [RECORD, *[RULES] * 3, *[ADDRESS] * 2]


def test_a_living_container_with_a_torn_record_loses_nothing(on_ground: Ground) -> None:
    on_ground.done("ADD", chained(on_ground), on_ground.container("c1"))
    path = Path(on_ground.cni_dir, "c1:eth0")
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == 10]
    for size in (0, 5, ends[0] - 1, ends[0], ends[1], ends[1] + 7, ends[-2] + 3):
        path.write_bytes(whole[:size])
        aged(path)
        before = on_ground.state()
        for each in os.scandir(f"{on_ground.ipam_dir}/chain"):
            aged(each.path)
        assert heal(on_ground) == [], size
        assert before.difference(on_ground.state()) == []


def other_program(ground: Ground, verb: str = "ADD") -> Container:
    """A container of a program that uses the same network and store by the binaries alone."""
    container = ground.container("theirs")
    config = {"cniVersion": "1.0.0", "name": "chain", "type": "ptp", "ipMasq": True}
    subprocess.run(
        ["/usr/lib/cni/ptp"],
        input=encode({**config, "ipam": ground.ipam(1)}),
        env={**ground.environ(verb, container), "CNI_PATH": "/usr/lib/cni"},
        check=True,
        capture_output=True,
    )
    return container


@pytest.mark.usefixtures("every_process")
def test_another_programs_container_keeps_its_address_link_and_rules(on_ground: Ground) -> None:
    on_ground.done("ADD", chained(on_ground), on_ground.container("c1"))
    other_program(on_ground)
    for each in os.scandir(f"{on_ground.ipam_dir}/chain"):
        aged(each.path)
    before = on_ground.state()
    on_ground.done("ADD", chained(on_ground), on_ground.container("c2"))
    die(on_ground, "c2")
    assert {each.thing.container_id for each in heal(on_ground)} == {"c2"}
    assert left(on_ground, before) == []
    assert [each for each in before.difference(on_ground.state()) if each[0] == "-"] == []
    # Once its namespace is gone, nobody has what it left.
    die(on_ground, "theirs")
    assert sorted(each.kind for each in planned(on_ground).remove) == [ADDRESS, RULES]


def test_an_address_of_a_network_that_is_not_ours_is_named_and_left(on_ground: Ground) -> None:
    on_ground.done("ADD", chained(on_ground), on_ground.container("c1"))
    path = Path(on_ground.ipam_dir, "elsewhere", "10.9.0.2")
    path.parent.mkdir()
    path.write_bytes(b"stranger\r\neth0")
    aged(path)
    made = planned(on_ground)
    assert made.remove == ()
    assert [each.name for each in made.left] == ["address 10.9.0.2 of 'elsewhere'"]


def test_a_pair_with_both_ends_on_the_host_is_named_and_left(on_ground: Ground) -> None:
    on_ground.node.ip("link", "add", "veth0123abcd", "type", "veth", "peer", "name", "tmp0")
    made = planned(on_ground)
    assert made.remove == () and [each.kind for each in made.left] == [LINK]


@pytest.mark.usefixtures("every_process")
def test_an_address_that_is_being_reserved_is_not_touched(on_ground: Ground) -> None:
    on_ground.done("ADD", chained(on_ground), on_ground.container("c1"))
    path = Path(on_ground.ipam_dir, "chain", "10.1.0.99")
    path.write_bytes(b"stranger\r\neth0")
    for age in (0, -30):  # the clock was set back meanwhile
        aged(path, age)
        assert planned(on_ground).remove == ()
    aged(path, 61)
    assert heal_kinds(heal(on_ground)) == [ADDRESS] and not path.exists()


def heal_kinds(done: list[Done]) -> list[str]:
    return [each.thing.kind for each in done]


def test_what_is_younger_than_the_grace_stays(on_ground: Ground) -> None:
    on_ground.done("ADD", chained(on_ground), on_ground.container("c1"))
    die(on_ground, "c1")
    assert heal(on_ground, grace=60.0) == []
    rewritten(Path(on_ground.cni_dir, "c1:eth0"), started=time.time() - 61)
    assert heal_kinds(heal(on_ground, grace=60.0)) == [RECORD, *[RULES] * 3, *[ADDRESS] * 2]


def test_a_record_of_another_boot_is_removed_whatever_is_at_its_path(on_ground: Ground) -> None:
    for name in ("other", "c1"):
        on_ground.done("ADD", chained(on_ground), on_ground.container(name))
    assert planned(on_ground).remove == ()
    on_ground.done("DEL", chained(on_ground), on_ground.container("c1"))
    before = on_ground.state()
    on_ground.done("ADD", chained(on_ground), on_ground.container("c1"))
    rewritten(Path(on_ground.cni_dir, "c1:eth0"), boot="another")
    # Two names of one boot: a node that is a container may have its own, and its pods the kernel's.
    assert planned(on_ground).remove == ()
    rewritten(Path(on_ground.cni_dir, "c1:eth0"), started=1.0)
    (record, *_) = planned(on_ground, grace=0.0).remove
    assert record.reason == "the node was started again since"
    assert [each for each in heal(on_ground) if each.problem] == []
    assert left(on_ground, before) == []


def test_a_folder_of_namespaces_that_is_not_seen_says_nothing(on_ground: Ground) -> None:
    """As in a container that does not have the node's /run/netns."""
    on_ground.done("ADD", chained(on_ground), on_ground.container("c1"))
    hidden = "/run/netns-of-another/pod"
    rewritten(Path(on_ground.cni_dir, "c1:eth0"), netns=hidden)
    assert planned(on_ground).remove == ()


def test_a_container_that_is_attached_again_meanwhile_is_kept(on_ground: Ground) -> None:
    conf = chained(on_ground)
    on_ground.done("ADD", conf, on_ground.container("c1"))
    die(on_ground, "c1")
    made = planned(on_ground)
    on_ground.done("DEL", conf, Container("", "c1"))
    on_ground.done("ADD", conf, on_ground.container("c1"))
    before = on_ground.state()
    done = list(Remover((on_ground.cni_dir,), engine_for).carry_out(made.remove))
    assert before.difference(on_ground.state()) == []
    assert done[0].problem.startswith("another command works on the container")
    on_ground.done("CHECK", conf, on_ground.container("c1"))


def test_gc_with_the_runtimes_list_and_healing_agree(on_ground: Ground) -> None:
    conf = chained(on_ground)
    living = on_ground.container("living")
    on_ground.done("ADD", conf, living)
    before = on_ground.state()

    def attach_and_die(names: tuple[str, ...]) -> None:
        for name in names:
            on_ground.done("ADD", conf, on_ground.container(name))
            die(on_ground, name)

    attach_and_die(("c1", "c2"))
    heal(on_ground)
    assert before.difference(on_ground.state()) == []
    on_ground.done("GC", on_ground.collecting(conf, [living]))
    assert before.difference(on_ground.state()) == []
    attach_and_die(("c3",))
    on_ground.done("GC", on_ground.collecting(conf, [living]))
    assert planned(on_ground) == Plan()


def test_a_container_that_the_runtime_lists_is_left_alone(on_ground: Ground) -> None:
    for name in ("c1", "c2"):
        on_ground.done("ADD", chained(on_ground), on_ground.container(name))
        die(on_ground, name)
    with Sandboxes(f"{on_ground.folder}/cri", ["c1", "another"]) as runtime:
        made = plan(look(evolve(places(on_ground), cri=runtime.path)))
    assert {each.container_id for each in made.remove} == {"c2"}
    assert (len(made.remove), made.left, made.errors) == (6, (), ())


@pytest.mark.parametrize("fault", ["status", "cut", "garbage", "reset"])
def test_without_the_runtimes_answer_nothing_is_removed(on_ground: Ground, fault: str) -> None:
    on_ground.done("ADD", chained(on_ground), on_ground.container("c1"))
    die(on_ground, "c1")
    with Sandboxes(f"{on_ground.folder}/cri", [], fault) as runtime:
        made = plan(look(evolve(places(on_ground), cri=runtime.path)))
    assert made.remove == ()
    assert [each.code for each in made.errors] == [11] and runtime.path in str(made.errors[0])


def killed_at(ground: Ground, moment: int, work: Callable[[], int]) -> bool:
    return start(work).run(moment).killed


def test_killed_at_any_moment_the_next_one_finishes_it(
    on_ground: Ground, say: Say, full_size: bool
) -> None:
    conf = chained(on_ground)
    on_ground.done("ADD", conf, on_ground.container("living"))
    before = on_ground.state()

    def work() -> int:
        return sum(bool(each.problem) for each in heal(on_ground))

    step, moment = (1 if full_size else 7), 1
    while True:
        on_ground.done("ADD", conf, evolve(on_ground.container("pod"), id=f"c{moment}"))
        die(on_ground, "pod")
        killed = killed_at(on_ground, moment, work)
        assert [each for each in heal(on_ground) if each.problem] == [], moment
        assert before.difference(on_ground.state()) == [], moment
        if not killed:
            break
        moment += step
    assert moment > 20
    say(f"healing killed at every {step}. of some {moment} moments, then once more: 0 left")


def test_a_folder_of_records_that_cannot_be_listed_keeps_what_no_record_names(
    on_ground: Ground,
) -> None:
    on_ground.done("ADD", chained(on_ground), on_ground.container("c1"))
    path = Path(on_ground.ipam_dir, "chain", "10.1.0.99")
    path.write_bytes(b"stranger\r\neth0")
    aged(path)
    unsafe = Path(on_ground.folder, "unsafe")
    unsafe.mkdir()
    unsafe.chmod(0o777)
    (unsafe / "stranger:eth0").write_bytes(b"")
    where = evolve(places(on_ground), cni_dirs=(on_ground.cni_dir, str(unsafe)))
    made = plan(look(where))
    assert made.remove == () and "writable for others" in str(made.errors[0])
    assert Journal(on_ground.cni_dir).keys() == {("c1", "eth0")}
