"""The source alone: ThirdPartyResources, the oldest first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import multus_source_tpr
import pytest

from multus.api.conf import Conf
from multus.api.keys import problems
from multus.api.kubernetes import NotFound
from multus.api.network import Delegate, Role
from multus.api.request import Request
from multus.testing.apiserver import CORE_KINDS, ApiServer
from multus.testing.session import new_session

FIRST, SEED = "kubernetes.com", "kubernetes-network.cni.cncf.io"
GETS = {
    FIRST: f"/apis/{FIRST}/v1/namespaces/default/networks/a",
    SEED: f"/apis/{SEED}/v1/namespaces/team/networks/a",
}


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """A cluster of its time: Networks are ThirdPartyResources of both groups."""
    with ApiServer(CORE_KINDS) as server:
        for group in (FIRST, SEED):
            server.create(
                {
                    "apiVersion": "extensions/v1beta1",
                    "kind": "ThirdPartyResource",
                    "metadata": {"name": f"network.{group}"},
                    "description": "A specification of a Network obj in the kubernetes",
                    "versions": [{"name": "v1"}],
                }
            )
        yield server


def conf(api: ApiServer, path: Path, **keys: Any) -> Conf:
    return Conf.from_wire(
        {"name": "net", "kubeconfig": api.write_kubeconfig(path, "basic"), **keys}
    )


def network(api: ApiServer, group: str, namespace: str) -> None:
    api.create(
        {
            "apiVersion": f"{group}/v1",
            "kind": "Network",
            "metadata": {"name": "a", "namespace": namespace},
            "plugin": "bridge",
            "args": json.dumps([{"mark": group}]),
        }
    )


def resolved(api: ApiServer, conf: Conf) -> Delegate:
    pod = api.create_pod("web", {"networks": '[{"name": "a"}]'}, namespace="team")
    args = {"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": "team"}
    wanted = Request("ADD", args={**args, "K8S_POD_UID": pod["metadata"]["uid"]})
    session = new_session()
    (selection,) = multus_source_tpr.multus_select(wanted, conf, session) or []
    assert (selection.role, selection.naming) == (Role.INSTEAD, "seed")
    delegate = multus_source_tpr.multus_resolve(selection.elements[0], wanted, conf, session)
    assert delegate is not None
    return delegate


def test_the_first_releases_are_asked_first_in_namespace_default(
    api: ApiServer, tmp_path: Path
) -> None:
    network(api, FIRST, "default")
    network(api, SEED, "team")
    assert resolved(api, conf(api, tmp_path)).plugins[0].config["mark"] == FIRST
    assert api.requests["GET", GETS[FIRST]] == 1
    assert api.requests["GET", GETS[SEED]] == 0


def test_then_the_pods_namespace(api: ApiServer, tmp_path: Path) -> None:
    network(api, SEED, "team")
    assert resolved(api, conf(api, tmp_path)).plugins[0].config["mark"] == SEED
    assert api.requests["GET", GETS[FIRST]] == api.requests["GET", GETS[SEED]] == 1


def test_the_setting_narrows_and_reorders(api: ApiServer, tmp_path: Path) -> None:
    network(api, FIRST, "default")
    network(api, SEED, "team")
    wanted = conf(api, tmp_path, networkDialects=[SEED, FIRST])
    assert resolved(api, wanted).plugins[0].config["mark"] == SEED
    assert api.requests["GET", GETS[FIRST]] == 0


def test_an_unknown_network_is_an_error(api: ApiServer, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="network default/a"):
        resolved(api, conf(api, tmp_path))


def test_wrong_keys_are_problems() -> None:
    raw = {"name": "n", "networkDialects": "kubernetes.com"}
    (problem,) = problems(Conf.from_wire(raw).reader, multus_source_tpr.multus_keys())
    assert problem.path == ("networkDialects",)
