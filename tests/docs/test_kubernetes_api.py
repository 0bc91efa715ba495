"""What the page of Kubernetes for plugins shows: its source and its observer do what it says."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.given import at_work, plugin_of

from multus.api.conf import Conf
from multus.api.kubernetes import NotFound
from multus.api.network import Outcome
from multus.api.request import Request
from multus.registry.loading import Installed
from multus.testing.apiserver import ApiServer
from multus.testing.invocation import Caller
from multus.testing.session import new_session

PAGE = Path(__file__).parents[2] / "docs" / "kubernetes-api.md"
SUBNETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "subnets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "subnets", "kind": "Subnet"},
        "versions": [{"name": "v1", "served": True, "storage": True}],
    },
}


@pytest.fixture
def installed() -> Installed:
    """The page's two plugins."""
    source, observer, _ = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return at_work(plugin_of("subnets", source), plugin_of("counter", observer))


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        server.create(SUBNETS)
        yield server


@pytest.fixture
def conf(api: ApiServer, tmp_path: Path) -> Conf:
    return Conf.from_wire({"name": "n", "kubeconfig": api.write_kubeconfig(tmp_path)})


def request_of(api: ApiServer, **annotations: str) -> Request:
    pod = api.create_pod("web", {"example.com/subnet": "green", **annotations}, uid="u-1")
    args = {"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": "default"}
    return Request("ADD", args={**args, "K8S_POD_UID": pod["metadata"]["uid"]})


def test_the_source_reads_what_the_pod_chose(
    installed: Installed, api: ApiServer, conf: Conf
) -> None:
    metadata = {"name": "green", "namespace": "default"}
    wire = {"apiVersion": "example.com/v1", "kind": "Subnet", "metadata": metadata}
    api.create({**wire, "spec": {"range": "10.9.0.0/24"}})
    request = request_of(api)
    with new_session() as session:
        (selection,) = installed.hooks.select(request, conf, session)
        found = installed.hooks.resolve(selection.elements[0], request, conf, session)
    assert found is not None
    assert found.plugins[0].config["ipam"]["subnet"] == "10.9.0.0/24"


def test_an_object_that_is_missing_is_named(
    installed: Installed, api: ApiServer, conf: Conf
) -> None:
    request = request_of(api)
    with new_session() as session:
        (selection,) = installed.hooks.select(request, conf, session)
        with pytest.raises(NotFound, match="subnet default/green"):
            installed.hooks.resolve(selection.elements[0], request, conf, session)


def test_the_observer_writes_to_the_pod(installed: Installed, api: ApiServer, conf: Conf) -> None:
    request = request_of(api)
    with new_session() as session:
        installed.hooks.observers(session).finished(Outcome("ADD"), request, conf)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}}
    assert api.get(pod)["metadata"]["annotations"]["example.com/networks"] == "0"
    kind = api.store.kind("", "v1", "events")
    assert kind is not None
    (event,) = api.store.objects(kind, "default", ())
    assert (event["reason"], event["message"]) == ("Counted", "0 networks")


def test_the_edit_counts_each_container_once(api: ApiServer, conf: Conf) -> None:
    definition = json.loads(
        json.dumps(SUBNETS).replace("subnet", "counter").replace("Subnet", "Counter")
    )
    api.create(definition)
    *_, code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    module = sys.modules[plugin_of("edits", code).module]
    for container, number in (("a", 0), ("b", 1), ("a", 0)):
        caller = Caller(container_id=container, conf=conf.raw)
        assert module.number_of(caller.invocation("ADD", {"type": "x"})) == number
