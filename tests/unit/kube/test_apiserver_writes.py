"""The stand-in decides on writes as a real API server does, as far as shared objects need it.

Each case is what the server's own sources do: k8s.io/apiserver, ``pkg/registry/generic/registry``,
``pkg/endpoints/handlers``, ``pkg/storage/etcd3``.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from multus.testing.apiserver import ApiServer

POOLS = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools"
POOL = f"{POOLS}/p"
MERGE, JSON = "application/merge-patch+json", "application/json-patch+json"

#: Status and body of the answer to a method, a path, a body and its media type.
Ask = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def ask(api: ApiServer) -> Ask:
    context = ssl.create_default_context(cadata=api.ca_pem.decode())

    def send(method: str, path: str, body: Any = None, form: str = "application/json") -> Any:
        request = urllib.request.Request(
            f"{api.url}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {api.access.token}", "Content-Type": form},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, context=context, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    return send


def pool(**allocations: Any) -> dict[str, Any]:
    return {
        "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
        "kind": "IPPool",
        "metadata": {"name": "p", "namespace": "kube-system"},
        "spec": {"range": "10.0.0.0/8", "allocations": allocations},
    }


@pytest.fixture
def version(ask: Ask) -> str:
    status, made = ask("POST", POOLS, pool())
    assert status == 201
    return str(made["metadata"]["resourceVersion"])


def test_a_name_is_created_once(ask: Ask, version: str) -> None:
    status, said = ask("POST", POOLS, pool())
    assert (status, said["reason"]) == (409, "AlreadyExists")


def test_a_patch_of_another_version_is_a_conflict(ask: Ask, version: str) -> None:
    patch = {"metadata": {"resourceVersion": version}, "spec": {"allocations": {"1": {}}}}
    status, made = ask("PATCH", POOL, patch, MERGE)
    assert (status, made["spec"]["allocations"]) == (200, {"1": {}})
    assert int(made["metadata"]["resourceVersion"]) > int(version)
    status, said = ask("PATCH", POOL, patch, MERGE)
    assert (status, said["reason"]) == (409, "Conflict")
    assert ask("PATCH", f"{POOLS}/none", patch, MERGE)[0] == 404


def test_an_update_needs_the_version(ask: Ask, version: str) -> None:
    status, said = ask("PUT", POOL, pool())
    assert (status, said["reason"]) == (422, "Invalid")
    wire = pool(a={})
    wire["metadata"]["resourceVersion"] = version
    assert ask("PUT", POOL, wire)[0] == 200
    status, said = ask("PUT", POOL, wire)
    assert (status, said["reason"]) == (409, "Conflict")


def test_a_json_patch_whose_test_fails_is_invalid(ask: Ask, version: str) -> None:
    """So the binary is told that another node was faster."""
    add = {"op": "add", "path": "/spec/allocations/7", "value": {}}
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
    assert ask("PATCH", POOL, [test, add], JSON)[0] == 200
    status, said = ask("PATCH", POOL, [test, add], JSON)
    assert (status, said["reason"]) == (422, "Invalid")
    # All of it is applied, or nothing.
    status, _ = ask("PATCH", POOL, [{**add, "path": "/spec/allocations/8"}, test], JSON)
    assert status == 422
    assert set(ask("GET", POOL)[1]["spec"]["allocations"]) == {"7"}


@pytest.mark.parametrize("key", ["uid", "resourceVersion"])
def test_what_is_removed_is_what_was_read(ask: Ask, version: str, key: str) -> None:
    status, said = ask("DELETE", POOL, {"preconditions": {key: "1"}})
    assert (status, said["reason"]) == (409, "Conflict")
    there = ask("GET", POOL)[1]["metadata"][key]
    assert ask("DELETE", POOL, {"preconditions": {key: there}})[0] == 200
    assert ask("GET", POOL)[0] == 404


def test_a_write_that_changes_nothing_makes_no_version(
    api: ApiServer, ask: Ask, version: str
) -> None:
    before = api.store.version
    for wire, form in (({"spec": {"range": "10.0.0.0/8"}}, MERGE), ([], JSON)):
        status, made = ask("PATCH", POOL, wire, form)
        assert (status, made["metadata"]["resourceVersion"]) == (200, version)
    assert api.store.version == before


def test_what_etcd_does_not_take_is_refused(ask: Ask, version: str) -> None:
    status, said = ask("PATCH", POOL, {"spec": {"allocations": {"1": "x" * 1_600_000}}}, MERGE)
    assert (status, said["message"]) == (500, "etcdserver: request is too large")
    assert ask("GET", POOL)[1]["metadata"]["resourceVersion"] == version


def test_a_watch_has_every_later_write_in_order(api: ApiServer, ask: Ask, version: str) -> None:
    ask("PATCH", POOL, {"spec": {"allocations": {"1": {}}}}, MERGE)
    ask("DELETE", POOL)
    ask("POST", POOLS, pool())
    found = list(_events(api, version, 3))
    assert [each["type"] for each in found] == ["MODIFIED", "DELETED", "ADDED"]
    versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in found]
    assert versions == sorted(set(versions)) and versions[0] > int(version)
    # What the history does not have any more.
    api.store.compact()
    (gone,) = _events(api, version, 1)
    assert (gone["type"], gone["object"]["code"]) == ("ERROR", 410)


def _events(api: ApiServer, version: str, count: int) -> Iterator[dict[str, Any]]:
    context = ssl.create_default_context(cadata=api.ca_pem.decode())
    request = urllib.request.Request(
        f"{api.url}{POOLS}?watch=true&resourceVersion={version}",
        headers={"Authorization": f"Bearer {api.access.token}"},
    )
    with urllib.request.urlopen(request, context=context, timeout=30) as answer:
        for _ in range(count):
            yield json.loads(answer.readline())
