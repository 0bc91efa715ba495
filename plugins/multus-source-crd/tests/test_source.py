"""The source alone: selecting, resolving, and its requests to the API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import multus_source_crd
import pytest

from multus.api.conf import Conf
from multus.api.errors import InvalidConfig
from multus.api.keys import problems
from multus.api.kubernetes import NotFound
from multus.api.network import Element, Role
from multus.api.request import Request
from multus.api.session import Session
from multus.testing.apiserver import ApiServer
from multus.testing.session import new_session

GROUP = "kubernetes-network.cni.cncf.io"


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def session() -> Session:
    return new_session()


@pytest.fixture
def conf(api: ApiServer, tmp_path: Path) -> Conf:
    return Conf.from_wire({"name": "net", "kubeconfig": api.write_kubeconfig(tmp_path)})


def network(name: str, group: str = GROUP, **keys: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{group}/v1",
        "kind": "Network",
        "metadata": {"name": name, "namespace": "team"},
        "plugin": "bridge",
        "args": "[{}]",
        **keys,
    }


def request(api: ApiServer, command: str = "ADD", **annotations: Any) -> Request:
    texts = {
        key: each if isinstance(each, str) else json.dumps(each)
        for key, each in annotations.items()
    }
    pod = api.create_pod("web", texts, namespace="team")
    args = {
        "K8S_POD_NAME": "web",
        "K8S_POD_NAMESPACE": "team",
        "K8S_POD_UID": pod["metadata"]["uid"],
    }
    return Request(command, args=args)


def test_the_pods_networks_come_instead_of_the_defaults(
    api: ApiServer, conf: Conf, session: Session
) -> None:
    api.create(network("a"))
    wanted = request(api, networks=[{"name": "a"}])
    (selection,) = multus_source_crd.multus_select(wanted, conf, session) or []
    assert (selection.role, selection.naming) == (Role.INSTEAD, "seed")
    assert selection.origin == "annotation 'networks' of pod team/web"
    (element,) = selection.elements
    delegate = multus_source_crd.multus_resolve(element, wanted, conf, session)
    assert delegate is not None
    assert (delegate.name, delegate.label, delegate.types) == ("a", "team/a", "bridge")


def test_a_pod_without_annotation_asks_for_nothing(
    api: ApiServer, conf: Conf, session: Session
) -> None:
    assert multus_source_crd.multus_select(request(api), conf, session) is None


def test_without_kubeconfig_or_pod_nothing_is_asked(
    api: ApiServer, conf: Conf, session: Session
) -> None:
    plain = Conf.from_wire({"name": "net"})
    assert (
        multus_source_crd.multus_select(request(api, networks=[{"name": "a"}]), plain, session)
        is None
    )
    assert multus_source_crd.multus_select(Request("ADD"), conf, session) is None
    assert not api.requests


@pytest.mark.parametrize("command", ["DEL", "CHECK", "GC"])
def test_only_add_and_status_see_the_api(
    api: ApiServer, conf: Conf, command: str, session: Session
) -> None:
    wanted = request(api, command, networks=[{"name": "a"}])
    assert multus_source_crd.multus_select(wanted, conf, session) is None
    assert not api.requests


def test_others_elements_are_not_its_own(api: ApiServer, conf: Conf, session: Session) -> None:
    foreign = Element("a", "key 'clusterNetwork'", "source-conffile")
    assert multus_source_crd.multus_resolve(foreign, request(api), conf, session) is None
    assert not api.requests


def test_a_network_that_does_not_exist_is_an_error(
    api: ApiServer, conf: Conf, session: Session
) -> None:
    wanted = request(api, networks=[{"name": "a"}])
    ((element,),) = [
        each.elements for each in multus_source_crd.multus_select(wanted, conf, session) or []
    ]
    with pytest.raises(NotFound, match="network team/a"):
        multus_source_crd.multus_resolve(element, wanted, conf, session)


def test_the_first_releases_networks_are_not_its_own(
    api: ApiServer, conf: Conf, session: Session
) -> None:
    wire = network("a", "kubernetes.com")
    wire["metadata"]["namespace"] = "default"
    api.create(wire)
    wanted = request(api, networks=[{"name": "a"}])
    ((element,),) = [
        each.elements for each in multus_source_crd.multus_select(wanted, conf, session) or []
    ]
    with pytest.raises(NotFound):
        multus_source_crd.multus_resolve(element, wanted, conf, session)


def test_two_annotations_are_two_selections(api: ApiServer, conf: Conf, session: Session) -> None:
    api.create(network("a"))
    spring = {"kubernetes.v1.cni.cncf.io/networks": "b"}
    wanted = request(api, networks=[{"name": "a"}], **spring)
    found = multus_source_crd.multus_select(wanted, conf, session) or []
    assert [each.role for each in found] == [Role.INSTEAD, Role.INSTEAD]


def test_a_bad_annotation_names_pod_and_entry(api: ApiServer, conf: Conf, session: Session) -> None:
    wanted = request(api, networks=[{"name": "a"}, {"nam": "b"}])
    with pytest.raises(InvalidConfig, match="pod team/web, entry 2 has no 'name'"):
        multus_source_crd.multus_select(wanted, conf, session)


def test_wrong_keys_are_problems() -> None:
    assert {key.name for key in multus_source_crd.multus_keys()} >= {"kubeconfig", "apiTimeout"}
    raw = {"name": "n", "kubeconfig": "relative", "networkDialects": ["x"], "apiTimeout": -1}
    found = problems(Conf.from_wire(raw).reader, multus_source_crd.multus_keys())
    assert [each.path for each in found] == [("kubeconfig",), ("apiTimeout",), ("networkDialects",)]
