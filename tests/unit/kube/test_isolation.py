"""The definitions that a pod may use with ``namespaceIsolation``: the same rule in all dialects."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import multus_source_crd
import multus_source_nad
import multus_source_tpr
import pytest
from attrs import frozen

from multus.api.conf import Conf
from multus.api.errors import InvalidConfig
from multus.api.kubernetes import NotFound, Resource, SourceSettings, view_of
from multus.api.network import Delegate
from multus.api.request import Request
from multus.testing.apiserver import ApiServer
from multus.testing.session import new_session

OWN = "team"
NAMESPACES = (OWN, "default", "infra", "kube-system", "other")
GLOBALS = ("default", "infra", "", "kube-system, infra")


@frozen
class Way:
    """One way for a pod to name a definition: the source, the API group, and the annotation.

    ``fixed`` is the namespace that is read whatever the pod says.
    """

    source: ModuleType
    group: str
    kind: str
    annotation: str
    short: bool = False
    fixed: str = ""

    def text(self, namespace: str) -> str:
        if self.short:
            return f"{namespace}/a"
        return json.dumps([{"name": "a", "namespace": namespace}])


_NAD, _CRD, _TPR = multus_source_nad, multus_source_crd, multus_source_tpr
_NADS = ("k8s.cni.cncf.io", "NetworkAttachmentDefinition")
WAYS = {
    "today": Way(_NAD, *_NADS, "k8s.v1.cni.cncf.io/networks"),
    "today-short": Way(_NAD, *_NADS, "k8s.v1.cni.cncf.io/networks", short=True),
    "default-network": Way(_NAD, *_NADS, "v1.multus-cni.io/default-network"),
    "default-network-short": Way(_NAD, *_NADS, "v1.multus-cni.io/default-network", short=True),
    "seed-crd": Way(_CRD, "kubernetes-network.cni.cncf.io", "Network", "networks"),
    "seed-tpr": Way(_TPR, "kubernetes-network.cni.cncf.io", "Network", "networks"),
    "first": Way(_TPR, "kubernetes.com", "Network", "networks", fixed="default"),
    "spring": Way(_CRD, "kubernetes.cni.cncf.io", "Network", "kubernetes.v1.cni.cncf.io/networks"),
    "spring-short": Way(
        _CRD, "kubernetes.cni.cncf.io", "Network", "kubernetes.v1.cni.cncf.io/networks", short=True
    ),
}

Ask = Callable[..., Delegate]


@pytest.fixture
def ask(api: ApiServer, tmp_path: Path) -> Ask:
    """What a pod of namespace team gets that names the definition of a namespace in this way."""

    def asked(way: Way, namespace: str, **keys: object) -> Delegate:
        body: dict[str, object] = {"plugin": "bridge", "args": "[{}]"}
        if way.kind == "NetworkAttachmentDefinition":
            body = {"spec": {"config": '{"type": "bridge"}'}}
        where = way.fixed or namespace
        metadata = {"name": "a", "namespace": where}
        api.create(
            {"apiVersion": f"{way.group}/v1", "kind": way.kind, "metadata": metadata, **body}
        )
        pod = api.create_pod("web", {way.annotation: way.text(namespace)}, namespace=OWN)
        # One dialect at a time: the others have no objects.
        dialects = {} if way.source is _NAD else {"networkDialects": [way.group]}
        wire = {"name": "n", "kubeconfig": api.write_kubeconfig(tmp_path), **dialects, **keys}
        conf = Conf.from_wire(wire)
        args = {"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": OWN}
        request = Request("ADD", args={**args, "K8S_POD_UID": pod["metadata"]["uid"]})
        with new_session() as session:
            (selection,) = way.source.multus_select(request, conf, session)
            (element,) = selection.elements
            found: Delegate = way.source.multus_resolve(element, request, conf, session)
        return found

    return asked


def reads(api: ApiServer) -> int:
    return sum(n for (_, path), n in api.requests.items() if path.startswith("/apis/"))


@pytest.mark.parametrize("allowed", GLOBALS)
@pytest.mark.parametrize("namespace", NAMESPACES)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_a_pod_uses_its_own_namespace_and_the_global_ones_and_no_other(
    api: ApiServer, ask: Ask, way: Way, namespace: str, allowed: str
) -> None:
    where = way.fixed or namespace
    keys = {"namespaceIsolation": True, "globalNamespaces": allowed}
    if where == OWN or where in allowed.split(", "):
        assert ask(way, namespace, **keys).plugins[0].type == "bridge"
        return
    with pytest.raises(InvalidConfig) as caught:
        ask(way, namespace, **keys)
    for part in ("namespace isolation", f"'{where}'", f"'{OWN}'", "globalNamespaces", "team/web"):
        assert part in caught.value.msg
    assert reads(api) == 0


@pytest.mark.parametrize("namespace", NAMESPACES)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_without_isolation_a_pod_uses_any(ask: Ask, way: Way, namespace: str) -> None:
    assert ask(way, namespace).plugins[0].type == "bridge"


def test_a_dialect_that_a_pod_may_not_use_is_left_out_for_the_next(
    api: ApiServer, tmp_path: Path
) -> None:
    for group, namespace in (("kubernetes.com", "default"), (WAYS["seed-tpr"].group, OWN)):
        api.create(
            {
                "apiVersion": f"{group}/v1",
                "kind": "Network",
                "metadata": {"name": "a", "namespace": namespace},
                "plugin": "bridge",
                "args": json.dumps([{"mark": group}]),
            }
        )
    api.create_pod("web", {"networks": '[{"name": "a"}, {"name": "b"}]'}, namespace=OWN)
    wire = {"name": "n", "kubeconfig": api.write_kubeconfig(tmp_path), "namespaceIsolation": True}
    conf = Conf.from_wire({**wire, "globalNamespaces": "infra"})
    args = {"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": OWN}
    request, session = Request("ADD", args=args), new_session()
    (selection,) = _TPR.multus_select(request, conf, session) or []
    found = _TPR.multus_resolve(selection.elements[0], request, conf, session)
    assert found is not None
    assert found.plugins[0].config["mark"] == WAYS["seed-tpr"].group
    with pytest.raises(NotFound, match="network team/b"):
        _TPR.multus_resolve(selection.elements[1], request, conf, session)


@pytest.mark.parametrize("allowed", GLOBALS)
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_with_several_dialects_each_is_held_to_the_rule(
    api: ApiServer, tmp_path: Path, namespace: str, allowed: str
) -> None:
    """The objects of both dialects of ``networks`` are there, or those of one, or none."""
    first, seed = "kubernetes.com", WAYS["seed-tpr"].group
    places = {first: "default", seed: namespace}
    permitted = {OWN, *allowed.split(", ")}
    api.create_pod(
        "web", {"networks": json.dumps([{"name": "a", "namespace": namespace}])}, namespace=OWN
    )
    wire = {"name": "n", "kubeconfig": api.write_kubeconfig(tmp_path), "namespaceIsolation": True}
    conf = Conf.from_wire({**wire, "globalNamespaces": allowed})
    args = {"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": OWN}
    for there in ([], [seed], [first, seed]):
        for group in there[:1]:
            api.create(
                {
                    "apiVersion": f"{group}/v1",
                    "kind": "Network",
                    "metadata": {"name": "a", "namespace": places[group]},
                    "plugin": "bridge",
                    "args": json.dumps([{"mark": group}]),
                }
            )
        request, session = Request("ADD", args=args), new_session()
        (selection,) = _TPR.multus_select(request, conf, session) or []
        api.requests.clear()
        usable = [group for group in there if places[group] in permitted]
        if usable:
            found = _TPR.multus_resolve(selection.elements[0], request, conf, session)
            assert found is not None
            assert found.plugins[0].config["mark"] == usable[0]
        else:
            expected = NotFound if namespace in permitted else InvalidConfig
            with pytest.raises(expected):
                _TPR.multus_resolve(selection.elements[0], request, conf, session)
        for _, path in api.requests:
            assert any(f"/namespaces/{each}/" in path for each in permitted), path


def test_the_namespace_that_counts_is_the_one_that_is_read(api: ApiServer, tmp_path: Path) -> None:
    wire = {"name": "n", "kubeconfig": api.write_kubeconfig(tmp_path), "namespaceIsolation": True}
    args = {"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": OWN}
    view = view_of(Request("ADD", args=args), Conf.from_wire(wire), new_session())
    assert view is not None
    kind = Resource("g", "v1", "p", title=f"definition {OWN}/a")
    for namespace in ("other", ""):
        with pytest.raises(InvalidConfig, match="namespace isolation"):
            view.chosen(kind.object(namespace, "a"), "annotation 'x' of pod team/web")
    assert not api.requests


def test_what_the_configuration_names_is_not_the_pods_choice(
    api: ApiServer, tmp_path: Path
) -> None:
    from multus.api.network import Element

    metadata = {"name": "a", "namespace": "kube-system"}
    spec = {"config": '{"type": "bridge"}'}
    kind = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition"}
    api.create({**kind, "metadata": metadata, "spec": spec})
    wire = {"name": "n", "kubeconfig": api.write_kubeconfig(tmp_path), "namespaceIsolation": True}
    args = {"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": OWN}
    element = Element("a", "'clusterNetwork' of configuration 'n'", "source-conffile")
    found = _NAD.multus_resolve(
        element, Request("ADD", args=args), Conf.from_wire(wire), new_session()
    )
    assert found is not None
    assert found.plugins[0].type == "bridge"


PAGE = Path(__file__).parents[3] / "docs" / "networks-nad.md"
ROW = re.compile(r"\| `(.+)` \| `(.+)` \| `(.+)/a` \| (allowed|refused).* \|")


def test_the_page_says_what_is_so() -> None:
    rows = [found.groups() for line in PAGE.read_text().split("\n") if (found := ROW.match(line))]
    assert len(rows) == 5
    for own, allowed, namespace, word in rows:
        wire = {"name": "n", "namespaceIsolation": True, "globalNamespaces": allowed}
        permitted = SourceSettings.of(Conf.from_wire(wire)).permits(namespace, own)
        assert permitted == (word == "allowed"), (own, allowed, namespace)
