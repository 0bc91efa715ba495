"""One network of a running container, attached or detached, whatever fails or is killed."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from contract.given import Recorder
from unit.state.given import OWN_NETNS, Desk, in_a_process_that_is_killed
from unit.state.test_transaction import Fatal
from unit.values import delegate_of

from multus.api.errors import BadEnvironment, CNIError, TryAgainLater, UnknownContainer
from multus.api.invoker import NothingDone
from multus.engine.invoke.plan import plan


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path / "state")
    desk.add()
    desk.recorder.calls.clear()
    return desk


def hot(desk: Desk, ifname: str = "net7", *types: str) -> None:
    """Attach one more network."""
    with desk.begun() as (made, call):
        change = made.change()
        change.require_free(ifname)
        delegate = delegate_of("hot-net", *(types or ("hot",)), ifname=ifname)
        change.attach(plan([delegate], call)[0])


def cold(desk: Desk, ifname: str = "net7") -> list[CNIError]:
    """Detach a network."""
    with desk.begun("DEL") as (made, _):
        change = made.change()
        index = change.find(ifname)
        assert index is not None
        return change.detach(index)


def with_recorder(desk: Desk, recorder: Recorder) -> Desk:
    return Desk(Path(desk.journal.folder), recorder)


def ifnames(desk: Desk) -> list[str]:
    return [each.delegate.ifname for each in desk.record().attachments()]


def remove(desk: Desk) -> None:
    with desk.begun("DEL") as (made, _):
        assert made.remove() == []


def test_a_network_more_is_in_the_record_and_one_less_is_not(desk: Desk) -> None:
    hot(desk)
    assert ifnames(desk) == ["net0", "net1", "net2", "net7"]
    assert desk.record().damage == ""
    assert desk.record().result is not None
    assert cold(desk) == []
    assert ifnames(desk) == ["net0", "net1", "net2"]
    assert desk.recorder.said == ["ADD hot net7", "DEL hot net7"]
    hot(desk)  # the interface is free again
    assert ifnames(desk) == ["net0", "net1", "net2", "net7"]


def test_the_containers_del_removes_it_first(desk: Desk) -> None:
    hot(desk)
    cold(desk, "net1")
    remove(desk)
    assert desk.recorder.said[2:] == ["DEL hot net7", "DEL c net2", "DEL a net0"]
    assert desk.files() == []


def test_the_intent_is_on_disk_before_anything_is_attached(desk: Desk) -> None:
    seen: list[tuple[list[str], frozenset[int]]] = []

    class Looking(Recorder):
        def _record(self, invocation: object) -> None:
            record = desk.record()
            planned = [each.delegate.ifname for each in record.planned.values()]
            seen.append((planned, record.changing))

    other = with_recorder(desk, Looking())
    hot(other)
    cold(other)
    assert seen == [(["net0", "net1", "net2", "net7"], frozenset({3}))] * 2
    assert desk.record().changing == frozenset()


def test_an_interface_that_the_container_has_is_refused(desk: Desk) -> None:
    with pytest.raises(BadEnvironment, match=r"already has .* on 'net1'"):
        hot(desk, "net1")
    assert desk.recorder.said == []


def test_a_container_without_its_networks_gets_none(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "state")
    with pytest.raises(UnknownContainer):
        hot(desk)
    desk.add(finish=False)
    with pytest.raises(UnknownContainer):
        hot(desk)


def test_what_fails_is_undone_and_the_others_stay(desk: Desk) -> None:
    other = with_recorder(desk, Recorder(ADD_net7=CNIError("no")))
    with pytest.raises(CNIError, match="no"):
        hot(other)
    assert other.recorder.said == ["ADD hot net7", "DEL hot net7"]
    assert ifnames(desk) == ["net0", "net1", "net2"]
    assert desk.record().changing == frozenset()
    remove(desk)
    assert desk.files() == []


def test_what_began_nothing_needs_no_undo(desk: Desk) -> None:
    other = with_recorder(desk, Recorder(ADD_net7=NothingDone("no")))
    with pytest.raises(CNIError, match="no"):
        hot(other)
    assert other.recorder.said == ["ADD hot net7"]


def test_what_cannot_be_undone_keeps_only_its_interface(desk: Desk) -> None:
    errors = {"ADD_net7": CNIError("no"), "DEL_net7": CNIError("neither")}
    other = with_recorder(desk, Recorder(**errors))
    with pytest.raises(CNIError, match="no") as raised:
        hot(other)
    assert "could not be undone: " in raised.value.details
    assert desk.record().changing == frozenset({3})
    with pytest.raises(TryAgainLater, match="an earlier change"):
        hot(other)
    hot(other, "net8")
    assert ifnames(desk) == ["net0", "net1", "net2", "net8"]
    hot(desk)
    assert desk.recorder.said == ["DEL hot net7", "ADD hot net7"]
    assert ifnames(desk) == ["net0", "net1", "net2", "net8", "net7"]


def test_a_detachment_that_fails_is_repeated(desk: Desk) -> None:
    hot(desk)
    other = with_recorder(desk, Recorder(DEL_net7=CNIError("no")))
    assert [str(each) for each in cold(other)] != []
    assert ifnames(desk) == ["net0", "net1", "net2"]  # CHECK does not ask for it any more
    with desk.begun("DEL") as (made, _):
        assert made.change().find("net7") is None  # the next change has removed it
    assert desk.recorder.said == ["ADD hot net7", "DEL hot net7"]


def recovered(desk: Desk) -> None:
    with desk.begun("DEL") as (made, _):
        assert made.remove_unfinished() == []


def next_change(desk: Desk) -> None:
    with desk.begun("DEL") as (made, _):
        made.change()


@pytest.mark.parametrize("then", [recovered, next_change])
@pytest.mark.parametrize("verb", ["ADD", "DEL"])
def test_a_process_that_is_killed_in_a_change_leaves_the_others(
    desk: Desk, verb: str, then: Callable[[Desk], None]
) -> None:
    dying = with_recorder(desk, Fatal(verb, 0))
    if verb == "DEL":
        hot(desk)
    desk.recorder.calls.clear()
    in_a_process_that_is_killed(lambda: hot(dying) if verb == "ADD" else cold(dying))
    assert desk.record().changing == frozenset({3})
    assert desk.record().damage == ""
    then(desk)
    assert desk.recorder.said == ["DEL hot net7"]
    assert ifnames(desk) == ["net0", "net1", "net2"]
    then(desk)
    assert desk.recorder.said == ["DEL hot net7"]


def test_the_del_of_a_container_whose_change_was_killed_removes_everything(desk: Desk) -> None:
    dying = with_recorder(desk, Fatal("ADD", 1))
    in_a_process_that_is_killed(lambda: hot(dying, "net7", "one", "two"))
    remove(desk)
    said = ["DEL two net7", "DEL one net7", "DEL c net2", "DEL b net1", "DEL a net0"]
    assert desk.recorder.said == said
    assert desk.files() == []


@pytest.mark.parametrize("attached", [False, True], ids=["detach", "attach"])
def test_what_the_go_multus_attached_stays_a_living_containers(
    tmp_path: Path, attached: bool
) -> None:
    desk = of_the_go_multus(tmp_path / "state", result=True)
    if attached:
        hot(desk)
    else:
        assert cold(desk, "net1") == []
    assert desk.record().result is not None
    assert desk.record().request.netns == OWN_NETNS
    assert ifnames(desk) == (["eth0", "net1", "net7"] if attached else ["eth0"])
    desk.recorder.calls.clear()
    recovered(desk)
    assert desk.recorder.said == []


def test_what_the_go_multus_may_not_have_ended_is_left_alone(tmp_path: Path) -> None:
    desk = of_the_go_multus(tmp_path / "state", result=False)
    with pytest.raises(UnknownContainer, match="no finished attachment"):
        hot(desk)
    assert desk.files() == []
    recovered(desk)
    assert desk.recorder.said == []


def of_the_go_multus(folder: Path, *, result: bool) -> Desk:
    """Container c1 with eth0 and net1; without *result*, libcni's files are missing."""
    desk = Desk(folder)
    (folder / "results").mkdir(mode=0o700, parents=True)
    folder.chmod(0o700)
    entries = []
    for name, ifname in (("one", "eth0"), ("two", "net1")):
        config = json.dumps({"cniVersion": "1.0.0", "name": name, "type": name}).encode()
        text = b64encode(config).decode()
        entries.append({"Bytes": text})
        kept = {"kind": "cniCacheV1", "containerId": "c1", "networkName": name, "ifName": ifname}
        kept |= {"config": text, "netns": OWN_NETNS}
        if result:
            path = folder / "results" / f"{name}-c1-{ifname}"
            path.write_text(json.dumps({**kept, "result": {"cniVersion": "1.0.0"}}))
            path.chmod(0o600)
    path = folder / "c1"
    path.write_text(json.dumps(entries))
    path.chmod(0o600)
    return desk


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_another_namespace_is_refused(tmp_path: Path, command: str) -> None:
    desk = Desk(tmp_path / "state")
    desk.add(netns=OWN_NETNS)
    desk.recorder.calls.clear()
    other = f"/proc/{os.getpid()}/ns/mnt"
    with (
        desk.begun(command, netns=other) as (made, _),
        pytest.raises(BadEnvironment, match=f"{other} is not the network namespace"),
    ):
        made.change()
    assert desk.recorder.said == []


def test_a_record_does_not_grow_with_the_number_of_changes(desk: Desk) -> None:
    path = desk.record().path
    hot(desk, "net8")
    kept = {each.delegate.ifname: each for each in desk.record().attachments()}
    before = desk.record()
    sizes = []
    for _ in range(30):
        hot(desk)
        assert cold(desk) == []
        sizes.append(os.path.getsize(path))
    assert max(sizes) == max(sizes[:10])
    after = desk.record()
    assert {each.delegate.ifname: each for each in after.attachments()} == kept
    assert (after.request, after.conf, after.result) == (
        before.request,
        before.conf,
        before.result,
    )
    assert (after.started, after.netns_identity) == (before.started, before.netns_identity)
    assert after.boot == before.boot != ""
    desk.recorder.calls.clear()
    remove(desk)
    assert desk.recorder.said == ["DEL hot net8", "DEL c net2", "DEL b net1", "DEL a net0"]
    assert desk.files() == []
