"""What an API server sends, of which one value is odd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.kube.scripted import Scripted, scripted

from multus.api.kubernetes import PODS, Deadline, Resource, TooLarge, Unreachable
from multus.kube.client import KubeClient
from multus.kube.decoding import decode, metadata_of
from multus.kube.transport import MAX_BODY
from multus.kube.urls import path_of

#: An object of the stand-in.
DEFINITION = Resource("g", "v1", "p", "definition").object("default", "a")


def test_what_is_nested_too_deep_is_null_and_all_else_is_there() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    body = b'{"a":{"x":%s,"y":"]}"},"b":[1,"\\"[",%s,2]}' % (
        deep,
        b'{"k":' * 5000 + b"1" + b"}" * 5000,
    )
    found = decode(body)
    assert (found["a"]["y"], found["b"][:2], found["b"][3]) == ("]}", [1, '"['], 2)


def test_a_number_of_thousands_of_digits_spoils_nothing() -> None:
    found = decode(b'{"a":%s,"b":12345678901234567890}' % (b"9" * 100_000))
    assert found == {"a": float("inf"), "b": 12345678901234567890}


def test_both_at_once() -> None:
    found = decode(b'[%s,%s,"x"]' % (b"[" * 5000 + b"]" * 5000, b"9" * 5000))
    assert found[1:] == [float("inf"), "x"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 5000, b"\xff", b'{"a":'])
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        decode(body)


def test_halves_of_pairs_are_read_as_they_are() -> None:
    assert decode(b'"\\ud800"') == "\ud800"
    assert decode(json.dumps("é\U0001f600").encode()) == "é\U0001f600"


@pytest.mark.parametrize("wire", [None, 5, [], {}, {"metadata": 5}, {"metadata": []}])
def test_metadata_is_always_a_mapping(wire: object) -> None:
    assert metadata_of(wire) == {}


# --- One object, for a request --------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as found:
        yield found


@pytest.fixture
def client(server: Scripted, tmp_path: Path) -> Iterator[KubeClient]:
    found = KubeClient(server.access(tmp_path))
    yield found
    found.close()


def test_an_object_that_is_odd_elsewhere_is_read(
    server: Scripted, client: KubeClient, soon: Deadline
) -> None:
    server.objects[path_of(DEFINITION)] = b'{"x": %s, "n": %s, "spec": {"config": "{}"}}' % (
        b"[" * 50_000 + b"]" * 50_000,
        b"9" * 50_000,
    )
    assert client.get(DEFINITION, soon)["spec"] == {"config": "{}"}


@pytest.mark.parametrize("metadata", ["5", "[]", '{"annotations": "x"}', '{"annotations": [1]}'])
def test_a_pod_whose_metadata_is_odd_does_not_start_without_its_networks(
    server: Scripted, client: KubeClient, soon: Deadline, metadata: str
) -> None:
    path = "/api/v1/namespaces/default/pods/web"
    server.objects[path] = b'{"metadata": %s}' % metadata.encode()
    with pytest.raises(Unreachable, match=r"pod default/web.*without usable metadata"):
        client.pod("default", "web", soon)


def test_an_object_that_is_too_large_is_refused_at_once(
    server: Scripted, client: KubeClient, soon: Deadline
) -> None:
    server.objects[path_of(DEFINITION)] = b'{"x": "%s"}' % (b"y" * MAX_BODY)
    with pytest.raises(TooLarge, match=r"definition default/a.*larger than 8388608 bytes"):
        client.get(DEFINITION, soon)
    assert len(server.asked) == 1


@pytest.mark.parametrize("name", ["\udcff", "\ud800"], ids=["bytes", "half-a-pair"])
def test_a_name_that_is_no_text_is_no_object(
    server: Scripted, client: KubeClient, soon: Deadline, name: str
) -> None:
    server.objects[path_of(PODS.object("default", name))] = b'{"metadata":{}}'
    assert client.pod("default", name, soon) == {}
