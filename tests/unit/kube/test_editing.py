"""Edits: grouped, refused when the object changed, computed again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from unit.kube.edits import POOLS, edit
from waiting import becomes, eventually

from multus.api.errors import CNIError, InvalidConfig
from multus.api.kubernetes import ApiFailure, Deadline, Edit, Resource
from multus.kube.batches import NotTried
from multus.kube.client import KubeClient
from multus.kube.kubeconfig import load_kubeconfig
from multus.kube.merging import joined, merged
from multus.kube.nodeapi import NodeApi
from multus.testing.apiserver import ApiServer, Fault
from multus.testing.apiserver.store import Refused

PATH = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/default/ippools"
CACHED: dict[Resource, list[str | tuple[str, ...]]] = {
    POOLS: [("metadata", "resourceVersion"), "spec"]
}


def marks(api: ApiServer, pool: str = "p") -> set[str]:
    kind = api.store.kind("whereabouts.cni.cncf.io", "v1alpha1", "ippools")
    assert kind is not None
    return set(api.store.get(kind, "default", pool)["spec"]["allocations"])


def stored(api: ApiServer) -> set[str]:
    kind = api.store.kind("whereabouts.cni.cncf.io", "v1alpha1", "ippools")
    assert kind is not None
    return {each["metadata"]["name"] for each in api.store.objects(kind, "default", ())}


def writes(api: ApiServer) -> int:
    return sum(n for (method, _), n in api.requests.items() if method in ("POST", "PATCH"))


def test_an_edit_creates_changes_and_removes(
    api: ApiServer, connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    client = connect()
    assert client.edit(edit("a"), soon) == 1
    assert client.edit(edit("b"), soon) == 2
    assert marks(api) == {"a", "b"}
    assert client.edit(edit("", "remove"), soon) is True
    assert client.edit(edit("", "remove"), soon) is False
    assert client.edit(edit("c"), soon) == 1


def test_edits_that_wait_at_the_same_time_are_one_write(
    api: ApiServer, connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    client, names = connect(), [f"n{n}" for n in range(20)]
    client.edit(edit("first"), soon)
    before = writes(api)
    # While the first of them writes, all others come.
    api.faults.add(Fault("slow", method="PATCH", seconds=0.3))
    threads = [threading.Thread(target=client.edit, args=(edit(name), soon)) for name in names]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert marks(api) == {"first", *names}
    assert writes(api) - before <= 5


def test_clients_that_write_at_the_same_time_lose_nothing(
    api: ApiServer, connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    clients = [connect() for _ in range(4)]

    def work(client: KubeClient, number: int) -> None:
        for each in range(5):
            client.edit(edit(f"{number}-{each}"), soon)

    threads = [threading.Thread(target=work, args=pair[::-1]) for pair in enumerate(clients)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(marks(api)) == 20


def test_an_error_of_one_edit_is_its_own(
    api: ApiServer, connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    client = connect()
    with pytest.raises(InvalidConfig, match="bad is bad"):
        client.edit(edit("bad"), soon)
    with pytest.raises(CNIError, match=r"unit\.kube\.edits:mark.* failed with KeyError"):
        client.edit(edit("odd"), soon)
    assert writes(api) == 0


def test_only_marked_functions_are_called(
    connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    for function in ("unmarked", "absent"):
        with pytest.raises(InvalidConfig, match=function):
            connect().edit(edit("a", function), soon)
    with pytest.raises(InvalidConfig, match="not installed"):
        connect().edit(Edit(POOLS.object("default", "p"), "no.such:thing", {}), soon)


def test_a_refusal_is_the_errors_of_the_server(
    api: ApiServer, connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    client = connect()
    api.forbidden.add(("create", "ippools"))
    with pytest.raises(ApiFailure) as caught:
        client.edit(edit("a"), soon)
    assert caught.value.status == 403
    api.forbidden.clear()
    assert client.edit(edit("a"), soon) == 1


@pytest.mark.parametrize("code", [403, 413, 422])
def test_a_refused_edit_fails_alone(
    api: ApiServer,
    connect: Callable[..., KubeClient],
    soon: Deadline,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    client, names = connect(), [*(f"n{n}" for n in range(10)), "refused", "n10", "n11"]
    client.edit(edit("first"), soon)
    plain = api.store.change

    def change(*arguments: Any) -> Any:
        stored = api.store.get(*arguments[:3])
        arguments[3](stored)
        if "refused" in stored["spec"]["allocations"]:
            raise Refused(code, "Invalid", "the object is not valid", *arguments[::2])
        return plain(*arguments)

    monkeypatch.setattr(api.store, "change", change)
    api.faults.add(Fault("slow", method="PATCH", seconds=0.5))
    with ThreadPoolExecutor(len(names)) as threads:
        done = {name: threads.submit(client.edit, edit(name), soon) for name in names}
        failed = {name: each.exception() for name, each in done.items() if each.exception()}
    assert list(failed) == ["refused"]
    assert isinstance(failed["refused"], ApiFailure) and failed["refused"].status == code
    assert marks(api) == {"first", *names} - {"refused"}


def test_edits_of_one_caller_are_one_write_up_to_the_first_that_fails(
    api: ApiServer, connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    client = connect()
    found = client.editor.edit_each([edit(name) for name in "abc"], soon)
    assert found == [1, 2, 3] and writes(api) == 1
    found = client.editor.edit_each([edit(name) for name in ("d", "bad", "e")], soon)
    assert found[0] == 4 and isinstance(found[1], InvalidConfig) and isinstance(found[2], NotTried)
    assert marks(api) == {"a", "b", "c", "d"} and writes(api) == 2
    none = [edit("x"), edit("x", "absent"), edit("y")]
    found = client.editor.edit_each(none, soon)
    assert [type(each) for each in found] == [int, InvalidConfig, NotTried]


def both(name: str, *, at_once: bool = True) -> Edit:
    return edit(name, "both", then="of-", at_once=at_once)


@pytest.mark.parametrize("at_once", [False, True])
def test_an_edit_that_belongs_to_another_one_is_made_with_it(
    at_once: bool, api: ApiServer, connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    client = connect()
    assert client.edit(both("a", at_once=at_once), soon) == [1, 1]
    assert client.edit(both("b", at_once=at_once), soon) == [2, 1]
    assert (marks(api, "of-1"), marks(api, "of-2")) == ({"a"}, {"b"})
    # Again: there is nothing to change, and nothing is made twice.
    assert client.edit(both("b", at_once=at_once), soon) == [2, 1]


def test_at_once_the_second_object_is_created_while_the_first_one_is_written(
    api: ApiServer,
    connect: Callable[..., KubeClient],
    soon: Deadline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = connect()
    client.edit(edit("first"), soon)
    plain = api.store.change

    def change(*arguments: Any) -> Any:
        becomes(lambda: api.requests["POST", PATH], 2)
        return plain(*arguments)

    monkeypatch.setattr(api.store, "change", change)
    assert client.edit(both("a"), soon) == [2, 1]


def test_what_was_created_early_is_deleted_when_the_edit_comes_to_nothing(
    api: ApiServer, connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    client = connect()
    client.edit(edit("first"), soon)
    api.faults.add(Fault("status", method="PATCH", path="*/p", code=403, reason="Forbidden"))
    with pytest.raises(ApiFailure):
        client.edit(both("a"), soon)
    assert api.requests["POST", PATH] == 2
    assert "of-2" not in stored(api)


def test_what_was_created_early_is_that_of_the_edit_as_it_was_made(
    api: ApiServer, connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    client = connect()
    client.edit(edit("first"), soon)
    # Another node is faster: the edit gets another number.
    connect().edit(edit("second"), soon)
    assert client.edit(both("a"), soon) == [3, 1]
    assert stored(api) == {"p", "of-3"}


def test_an_early_object_that_somebody_else_has_is_left_alone(
    api: ApiServer, connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    client = connect()
    client.edit(edit("first"), soon)
    connect().edit(edit("other", pool="of-2"), soon)
    assert client.edit(both("a"), soon) == [2, 2]
    assert marks(api, "of-2") == {"other", "a"}
    api.faults.add(Fault("status", method="PATCH", path="*/p", code=403, reason="Forbidden"))
    connect().edit(edit("other", pool="of-3"), soon)
    with pytest.raises(ApiFailure):
        client.edit(both("b"), soon)
    assert marks(api, "of-3") == {"other"}


@pytest.fixture
def node(api: ApiServer, tmp_path: Path) -> Iterator[NodeApi]:
    found = NodeApi(load_kubeconfig(api.write_kubeconfig(tmp_path)), "n1", CACHED)
    yield found
    found.close()


def watching(node: NodeApi, client: KubeClient, soon: Deadline) -> None:
    """Follow an object that *client* has made."""
    client.edit(edit("a"), soon)
    node.start()
    eventually(lambda: all(state.synced for state in node.states()))


def test_a_watched_object_is_written_without_a_read(
    api: ApiServer, node: NodeApi, connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    watching(node, connect(), soon)
    api.requests.clear()
    assert node.edit(edit("b"), soon) == 2
    assert node.edit(edit("c"), soon) == 3
    assert api.requests["GET", f"{PATH}/p"] == 0
    assert api.requests["PATCH", f"{PATH}/p"] == 2


def test_what_a_watch_says_is_confirmed_before_it_is_an_answer(
    api: ApiServer, node: NodeApi, connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    watching(node, connect(), soon)
    api.requests.clear()
    assert node.edit(edit("a"), soon) == 1
    assert api.requests["GET", f"{PATH}/p"] == 1


def test_an_object_that_the_watch_lacks_is_created_without_a_read(
    api: ApiServer, node: NodeApi, connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    watching(node, connect(), soon)
    api.requests.clear()
    assert node.edit(edit("b", pool="new"), soon) == 1
    assert node.edit(edit("c", pool="new"), soon) == 2
    assert api.requests["GET", f"{PATH}/new"] == 0
    # That there is nothing to change is confirmed.
    assert node.edit(edit("", "remove", pool="other"), soon) is False
    assert api.requests["GET", f"{PATH}/other"] == 1


def test_an_object_that_a_late_watch_lacks_is_read(
    api: ApiServer, connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    late = connect()
    late.editor.watch(lambda _: None, lambda _: True)
    connect().edit(edit("a"), soon)
    assert late.edit(edit("b"), soon) == 2
    with pytest.raises(InvalidConfig, match="bad is bad"):
        late.edit(edit("bad", pool="none"), soon)
    assert marks(api) == {"a", "b"}


def test_an_object_that_was_deleted_meanwhile_is_created(
    api: ApiServer, connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    client = connect()
    client.edit(edit("a"), soon)
    connect().edit(edit("", "remove"), soon)
    assert client.edit(edit("b"), soon) == 1
    assert marks(api) == {"b"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": 1}, {"b": 2}),
        ({"a": None}, {"a": 3}),
        ({"a": {"x": 1}}, {"a": {"x": None, "y": 2}}),
        ({"a": {"x": 1}}, {"a": None}),
        ({}, {"a": {"b": {"c": None}}}),
    ],
)
def test_joined_patches_do_what_both_do(first: Any, second: Any) -> None:
    for wire in ({}, {"a": {"x": 0, "z": 9}}, {"a": 5, "b": {"q": 1}}):
        assert merged(wire, joined(first, second)) == merged(merged(wire, first), second)
