"""The admission policies: their CEL, evaluated on objects that are to pass and on others.

A library from PyPI evaluates the language itself.  Of what Kubernetes adds to it, ``findAll`` and
``split`` are given here, as Kubernetes documents them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from unit.deploy.conftest import DEPLOY, IMAGE, Helm, Objects, objects

NODE_NAME = "authentication.kubernetes.io/node-name"
MULTUS = "system:serviceaccount:kube-system:multus-python"
NETWORKS = "k8s.v1.cni.cncf.io/networks"
FILES = ("definitions", "pods")


class Policy:
    """A policy as the API server applies it."""

    def __init__(self, wire: Mapping[str, Any]) -> None:
        self.spec = wire["spec"]

    def refusal(self, **request: Any) -> str:
        """The message of the first rule that refuses; "" when all pass or it does not apply."""
        cel = pytest.importorskip("cel", reason="pip install common-expression-language")
        variables: dict[str, Any] = {}

        def evaluated(expression: str) -> Any:
            context = cel.Context({**request, "variables": variables})
            context.add_function("findAll", lambda text, pattern: re.findall(pattern, text))
            context.add_function("split", lambda text, separator: text.split(separator))
            return cel.evaluate(expression, context)

        conditions = self.spec.get("matchConditions", [])
        if not all(evaluated(each["expression"]) for each in conditions):
            return ""
        for each in self.spec["variables"]:
            variables[each["name"]] = evaluated(each["expression"])
        for each in self.spec["validations"]:
            value = evaluated(each["expression"])
            assert isinstance(value, bool)
            if not value:
                return str(each["message"])
        return ""


def policy(name: str) -> Policy:
    wires = objects((DEPLOY / "admission" / f"{name}.yaml").read_text())
    return Policy(wires["ValidatingAdmissionPolicy", f"multus-{name}"])


# --- Definitions ---------------------------------------------------------------------------------


def definition(config: Any) -> str:
    """What is said of a definition with this configuration."""
    text = config if isinstance(config, str) else json.dumps(config)
    return policy("definitions").refusal(object={"spec": {"config": text}})


HOST_LOCAL = {"type": "host-local", "subnet": "10.1.0.0/24"}


@pytest.mark.parametrize(
    "config",
    [
        {"type": "macvlan", "master": "eth1", "ipam": HOST_LOCAL},
        {"type": "bridge", "bridge": "br-multus", "ipam": {**HOST_LOCAL, "routes": []}},
        {"plugins": [{"type": "ptp", "ipam": HOST_LOCAL}, {"type": "tuning", "sysctl": {}}]},
        {"type": "ptp", "ipam": {**HOST_LOCAL, "dataDir": "/var/lib/cni/networks"}},
        {"type": "ptp", "ipam": {**HOST_LOCAL, "dataDir": "/var/lib/cni/networks/team"}},
        {"type": "ptp", "ipam": {**HOST_LOCAL, "resolvConf": "/etc/resolv.conf"}},
        '{\n  "type" :\n  "macvlan"\n}',
    ],
    ids=str,
)
def test_definitions_of_tenants_pass(config: Any) -> None:
    assert definition(config) == ""


def test_a_definition_that_leaves_its_configuration_to_a_file_passes() -> None:
    wires: list[dict[str, Any]] = [{}, {"spec": {}}]
    for wire in wires:
        assert policy("definitions").refusal(object=wire) == ""


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"type": "multus"}, "'type'"),
        ({"type": "multus-shim"}, "'type'"),
        ({"type": "host-device"}, "'type'"),
        ({"type": "ptp", "ipam": {"type": "multus"}}, "'type'"),
        ({"type": "ptp", "ipam": {"TYPE": "multus"}}, "'type'"),
        ({"plugins": [{"type": "ptp"}, {"type": "firewall"}]}, "'type'"),
        ('{"type"\n:\t"multus"}', "'type'"),
        ('{"\\u0074ype": "multus"}', "backslash"),
        ('{"type": "mul\\u0074us"}', "backslash"),
        ({"type": "ptp", "ipam": {**HOST_LOCAL, "dataDir": "/etc"}}, "'dataDir'"),
        ({"type": "ptp", "ipam": {**HOST_LOCAL, "DATADIR": "/etc"}}, "'dataDir'"),
        ({"type": "ptp", "ipam": {**HOST_LOCAL, "dataDir": "networks"}}, "'dataDir'"),
        ({"type": "ptp", "ipam": {**HOST_LOCAL, "dataDir": "/var/lib/cni/networks2"}}, "'dataDir'"),
        (
            {"type": "ptp", "ipam": {**HOST_LOCAL, "dataDir": "/var/lib/cni/networks/../.."}},
            "'dataDir'",
        ),
        ({"type": "ptp", "ipam": {**HOST_LOCAL, "resolvConf": "/etc/shadow"}}, "'resolvConf'"),
        ({"type": "ptp", "ipam": {**HOST_LOCAL, "re\u017folvConf": "/x"}}, "backslash"),
        ('{"type": "ptp", "re\u017folvConf": "/x"}', "'resolvConf'"),
        ({"type": "sriov", "cniDir": "/etc"}, "owner of the node"),
        ({"type": "sriov", "LogFile": "/etc/x"}, "owner of the node"),
        ({"type": "ptp", "pad": "x" * 70_000}, "65536"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_others_are_refused(config: Any, said: str) -> None:
    assert said in definition(config)


# --- Pods ----------------------------------------------------------------------------------------


def pod(node: str = "n1", **changes: Any) -> dict[str, Any]:
    meta = {"name": "web", "annotations": {"a": "1"}, "labels": {"l": "1"}}
    wire = {"metadata": meta, "spec": {"nodeName": node}, "status": {"phase": "Running"}}
    meta |= changes.pop("metadata", {})
    return {**wire, **changes}


def patched(after: Mapping[str, Any], before: Any = None, **user: Any) -> str:
    """What is said of a patch by Multus' account of node n1, unless *user* says otherwise."""
    info = {"username": MULTUS, "extra": {NODE_NAME: ["n1"]}, **user}
    return policy("pods").refusal(
        request={"userInfo": info}, object=after, oldObject=before or pod()
    )


STATUS = {"annotations": {"a": "1", "k8s.v1.cni.cncf.io/network-status": "[]"}}


def test_the_status_of_a_pod_of_its_node_may_be_written() -> None:
    assert patched(pod(metadata=STATUS)) == ""
    assert patched(pod(), pod(metadata=STATUS)) == ""
    bare = {"metadata": {"name": "web"}, "spec": {"nodeName": "n1"}}
    assert (
        patched({**bare, "metadata": STATUS}, {**bare, "metadata": {"annotations": {"a": "1"}}})
        == ""
    )


def test_others_accounts_are_left_alone() -> None:
    assert patched(pod("n2", status={}), username="system:node:n2") == ""


@pytest.mark.parametrize(
    "extra", [{NODE_NAME: ["n2"]}, {}, {NODE_NAME: [""]}, {"other": ["n1"]}], ids=str
)
def test_a_token_of_another_node_or_of_none_is_refused(extra: dict[str, Any]) -> None:
    assert "not belong to the node" in patched(pod(metadata=STATUS), extra=extra)


def test_a_pod_of_no_node_is_refused() -> None:
    waiting = {"metadata": {"name": "web"}, "spec": {}}
    assert "not belong to the node" in patched(waiting, waiting)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (pod(metadata={"annotations": {"a": "2"}}), "annotation"),
        (pod(metadata={"annotations": {}}), "annotation"),
        (
            pod(metadata={"annotations": {"a": "1", "k8s.v1.cni.cncf.io/networks": "x"}}),
            "annotation",
        ),
        (pod(status={"phase": "Failed"}), "status"),
        (pod(metadata={"labels": {"l": "2"}}), "labels"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_nothing_else_of_a_pod_may_be_changed(after: dict[str, Any], said: str) -> None:
    assert said in patched(after)


# --- The files -----------------------------------------------------------------------------------


def shipped() -> Iterator[dict[str, Any]]:
    for name in FILES:
        yield from objects((DEPLOY / "admission" / f"{name}.yaml").read_text()).values()


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_they_fit_the_schema(version: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for wire in shipped():
        kubernetes_validate.validate(wire, version, strict=True)


def test_the_account_is_the_one_of_the_manifests() -> None:
    account = objects((DEPLOY / "rbac" / "multus.yaml").read_text())[
        "ServiceAccount", "multus-python"
    ]
    meta = account["metadata"]
    name = f"system:serviceaccount:{meta['namespace']}:{meta['name']}"
    (condition,) = policy("pods").spec["matchConditions"]
    assert condition["expression"] == f"request.userInfo.username == '{name}'"


@pytest.fixture
def rendered(helm: Helm) -> Callable[..., Objects]:
    def render(**values: Any) -> Objects:
        return objects(helm.texts({"image": IMAGE, **values}).get("admission.yaml", ""))

    return render


def test_the_chart_has_none_unless_it_is_told(rendered: Any) -> None:
    assert rendered() == {}
    assert len(rendered(admission={"pods": {"enabled": True}})) == 2


def test_the_chart_renders_what_the_manifests_say(rendered: Any) -> None:
    on = {"enabled": True}
    found = rendered(admission={"definitions": on, "pods": on})
    for wire in found.values():
        wire["metadata"].pop("labels")
    assert list(found.values()) == list(shipped())


def test_the_chart_refuses_them_where_kubernetes_has_none(helm: Helm, tmp_path: Path) -> None:
    older = helm.for_kubernetes("1.29", tmp_path)
    for name in FILES:
        with pytest.raises(helm.error, match="need Kubernetes"):
            older.all(admission={name: {"enabled": True}})


def test_the_charts_lists_reach_the_policy(rendered: Any) -> None:
    lists = {"types": ["macvlan", "whereabouts"], "dataDirs": ["/srv/ipam"]}
    found = rendered(admission={"definitions": {"enabled": True, **lists}})
    mine = Policy(found["ValidatingAdmissionPolicy", "multus-definitions"])

    def said(config: Any) -> str:
        return mine.refusal(object={"spec": {"config": json.dumps(config)}})

    assert (
        said({"type": "macvlan", "ipam": {"type": "whereabouts", "dataDir": "/srv/ipam/a"}}) == ""
    )
    assert "'type'" in said({"type": "bridge"})
    assert "'dataDir'" in said({"type": "macvlan", "dataDir": "/var/lib/cni/networks"})
