"""The chart, rendered by Helm's own engine and compared with the manifests of kustomize."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from unit.deploy.conftest import (
    CHART,
    DEPLOY,
    IMAGE,
    VERSIONS,
    Helm,
    Objects,
    bare,
    containers,
    objects,
    validate,
)

from multus.cli import parser
from multus.daemon import keys as daemon_keys
from multus.daemon.settings import Settings

NODES = "multus-python"
UNINSTALL = "multus-python-uninstall"
PLACES = ("nodeSelector", "affinity", "tolerations")


def daemon_json(made: Any) -> dict[str, Any]:
    return dict(json.loads(made["ConfigMap", NODES]["data"]["daemon.json"]))


def multus_json(made: Any) -> dict[str, Any]:
    return dict(json.loads(made["ConfigMap", NODES]["data"]["multus.json"]))


# --- In step with the manifests -------------------------------------------------------------------


def test_the_chart_has_no_lint(helm: Helm) -> None:
    report = helm.library.lint(
        str(CHART),
        {"image": IMAGE},
        strict=True,
        namespace="kube-system",
        kube_version="v1.32.0",
    )
    worse = [each for each in report["messages"] if each["severity"] > 1]
    assert (worse, report["errors"]) == ([], [])


def test_the_chart_renders_what_the_manifests_say(helm: Helm, daemonset: dict[str, Any]) -> None:
    rendered = helm.render()
    assert bare(rendered["DaemonSet", NODES]) == bare(daemonset)
    rbac = objects((DEPLOY / "rbac" / "multus.yaml").read_text())
    for key, wire in rbac.items():
        assert bare(rendered[key]) == bare(wire)
    assert daemon_json(rendered) == json.loads((DEPLOY / "daemonset" / "daemon.json").read_text())
    assert set(rendered) == {("DaemonSet", NODES), ("ConfigMap", NODES), *rbac}


def test_both_uninstall_nodes_by_the_same_pods(helm: Helm) -> None:
    hooks = helm.hooks("pre-delete")
    written = objects((DEPLOY / "uninstall" / "daemonset.yaml").read_text())
    assert bare(hooks["DaemonSet", UNINSTALL]) == bare(written["DaemonSet", UNINSTALL])


# --- Values ---------------------------------------------------------------------------------------

AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {"matchExpressions": [{"key": "edge", "operator": "DoesNotExist"}]}
            ]
        }
    }
}
VALUES: list[dict[str, Any]] = [
    {
        "image": {"repository": "registry.example:5000/multus", "tag": "1"},
        "hostPID": True,
        "uninstall": {"enabled": False},
    },
    {"extraCapabilities": ["BPF", "IPC_LOCK"], "sriov": True, "waitForNetwork": 0},
    {
        "resources": {
            "daemon": {"limits": {"cpu": 2, "memory": "1Gi", "hugepages-2Mi": "4Mi"}},
            "install": {"limits": None, "requests": {"ephemeral-storage": "1Mi"}},
        },
        "updateStrategy": {"type": "OnDelete", "rollingUpdate": None},
    },
    {
        "priorityClassName": "",
        "nodeSelector": {},
        "tolerations": [],
        "imagePullSecrets": [{"name": "x"}],
    },
    {
        "nodeSelector": {"pool": "a"},
        "affinity": AFFINITY,
        "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}],
        "labels": {"team": "net"},
        "annotations": {"a": "1"},
        "podLabels": {"b": "2"},
        "podAnnotations": {"c": "3"},
        "updateStrategy": {"rollingUpdate": {"maxUnavailable": "10%"}},
    },
    {"paths": {"netD": "/k3s/net.d", "binDir": "/k3s/bin"}, "daemon": {"workers": 8}},
    {"metrics": {"enabled": True}, "admission": {"pods": {"enabled": True}}},
]


@pytest.fixture(scope="module")
def plain(helm: Helm) -> Objects:
    return helm.all()


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_chart_renders_fits_the_schema(plain: Objects, version: str) -> None:
    for wire in plain.values():
        if wire["kind"] != "NetworkAttachmentDefinition":
            validate(wire, version)


@pytest.mark.parametrize("values", VALUES, ids=str)
def test_what_values_change_fits_the_schema(
    helm: Helm, plain: Objects, values: dict[str, Any]
) -> None:
    made = helm.all(**values)
    for key, wire in made.items():
        if wire != plain.get(key) and key[0] in ("DaemonSet", "Pod"):
            validate(wire, VERSIONS[0])
    known = parser()
    for wire in made.values():
        for each in containers(wire) if wire["kind"] in ("DaemonSet", "Job") else ():
            if "args" in each:
                known.parse_args(each["args"])
    Settings.of(daemon_json(made), "daemon.json", {})


def test_the_image_has_to_be_named(helm: Helm) -> None:
    with pytest.raises(helm.error, match=r"image\.repository is missing: name the image with its"):
        helm.texts({})


@pytest.mark.parametrize(
    "image",
    [
        {"repository": "multus"},
        {"repository": "example/multus"},
        {"repository": "registry.example/multus:1"},
        {**IMAGE, "digest": "sha256:0"},
    ],
    ids=str,
)
def test_an_image_that_docker_io_would_have_or_that_none_has_is_refused(
    helm: Helm, image: dict[str, str]
) -> None:
    with pytest.raises(helm.error, match="/image/"):
        helm.texts({"image": image})


def test_a_digest_names_the_image_of_every_container(helm: Helm) -> None:
    digest = f"sha256:{'0a' * 32}"
    made = helm.all(image={**IMAGE, "tag": "1", "digest": digest})
    pods = [wire for wire in made.values() if wire["kind"] in ("DaemonSet", "Job")]
    images = {each["image"] for wire in pods for each in containers(wire)}
    (test,) = made["Pod", "multus-python-test"]["spec"]["containers"]
    assert images | {test["image"]} == {f"registry.example/multus@{digest}"}


def test_what_is_said_of_pods_reaches_them(helm: Helm) -> None:
    values = VALUES[4]
    made = helm.render(**values)["DaemonSet", NODES]
    assert made["metadata"]["annotations"] == {"a": "1"}
    assert made["metadata"]["labels"]["team"] == "net"
    template = made["spec"]["template"]
    assert template["metadata"]["labels"]["b"] == "2"
    assert template["metadata"]["annotations"]["c"] == "3"
    assert made["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": "10%"}
    assert {place: template["spec"][place] for place in PLACES} == {
        place: values[place] for place in PLACES
    } | {"nodeSelector": {"kubernetes.io/os": "linux", "pool": "a"}}


def test_nodes_are_uninstalled_where_they_were_installed(helm: Helm) -> None:
    made = helm.all(**VALUES[4])
    spec = made["DaemonSet", NODES]["spec"]["template"]["spec"]
    for key in (("DaemonSet", UNINSTALL), ("Job", UNINSTALL)):
        other = made[key]["spec"]["template"]["spec"]
        assert [other[place] for place in PLACES] == [spec[place] for place in PLACES]


def test_the_daemonset_adopts_no_pod_of_another_object(helm: Helm) -> None:
    made = helm.all()
    selector = made["DaemonSet", NODES]["spec"]["selector"]["matchLabels"].items()
    for (kind, name), wire in made.items():
        pod = wire if kind == "Pod" else wire.get("spec", {}).get("template")
        if pod is not None and (kind, name) != ("DaemonSet", NODES):
            assert not selector <= pod["metadata"]["labels"].items(), (kind, name)


@pytest.mark.parametrize(("version", "field"), [("1.25", False), ("1.29", False), ("1.30", True)])
def test_apparmors_profile_is_what_this_kubernetes_knows(
    helm: Helm, tmp_path: Path, version: str, field: bool
) -> None:
    made = helm.for_kubernetes(version, tmp_path).all()["DaemonSet", NODES]
    validate(made, version)
    _, daemon, _ = containers(made)
    annotations = made["spec"]["template"]["metadata"]["annotations"]
    assert ("appArmorProfile" in daemon["securityContext"]) is field
    profile = annotations.get("container.apparmor.security.beta.kubernetes.io/daemon")
    assert profile == (None if field else "unconfined")


def test_keys_of_the_configuration_reach_the_file_that_the_installer_reads(helm: Helm) -> None:
    given = {"namespaceIsolation": True, "blockedPlugins": ["x"], "systemNamespaces": ["y"]}
    data = helm.render(configuration=given)
    blocked = ["x", "ipam-whereabouts"]
    assert multus_json(data) == {**given, "blockedPlugins": blocked}
    default = json.loads((DEPLOY / "daemonset" / "multus.json").read_text())
    assert multus_json(helm.render()) == default
    for each in containers(data["DaemonSet", NODES]):
        if "args" in each:
            path = each["args"][each["args"].index("--settings") + 1]
            mounts = {mount["mountPath"]: mount.get("subPath") for mount in each["volumeMounts"]}
            assert mounts[path] == "multus.json"


def test_other_folders_reach_every_place(helm: Helm) -> None:
    made = helm.all(paths={"netD": "/k3s/net.d", "binDir": "/k3s/bin"})
    for each in containers(made["DaemonSet", NODES]):
        mounted = {mount["mountPath"] for mount in each["volumeMounts"]}
        assert "/k3s/net.d" in mounted
        assert "/etc/cni/net.d" not in mounted
        if "args" in each:
            assert each["args"][-4:] == ["--net-d", "/k3s/net.d", "--bin-dir", "/k3s/bin"]
    assert daemon_json(made)["kubeconfig"] == "/k3s/net.d/multus.d/multus.kubeconfig"
    uninstall, _ = containers(made["DaemonSet", UNINSTALL])
    assert uninstall["args"] == ["uninstall", "--net-d", "/k3s/net.d"]
    mounted = {mount["mountPath"] for mount in uninstall["volumeMounts"]}
    assert {"/k3s/net.d", "/k3s/bin"} <= mounted


@pytest.mark.parametrize(
    "values",
    [
        {"paths": {"netD": "relative"}},
        {"sriov": "yes"},
        {"unheardOf": 1},
        {"affinity": {"nodeAfinity": {}}},
        {"updateStrategy": {"rollingUpdate": {"maxSurge": 1}}},
        {"podLabels": {"a": 1}},
        {"metrics": {"enabled": True, "where": "pod"}},
        {"metrics": {"alerts": {"enabled": True}}},
        {"daemon": {"chrootDir": "/"}},
        {"daemon": {"nodeName": "n1"}},
        {"daemon": {"logOptions": {"maxSizes": 1}}},
        {"configuration": {"namespaceIsolation": "yes"}},
        {"configuration": {"networkDialects": ["x"]}},
    ],
    ids=str,
)
def test_wrong_values_are_refused(helm: Helm, values: dict[str, Any]) -> None:
    with pytest.raises(helm.error):
        helm.all(**values)


# --- The daemon's settings ------------------------------------------------------------------------

_SAMPLES: dict[str, Any] = {
    "string": "x",
    "absolute path": "/x",
    "path": "/x",
    "boolean": True,
    "integer": 20,
    "object": {},
    "duration": "24h",
    "address with port": "127.0.0.1:8470",
}


def test_every_key_of_the_daemon_is_known_to_the_schema(helm: Helm) -> None:
    """And one letter more is not."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    known = schema["properties"]["daemon"]["properties"]
    own = {"socketDir", "chrootDir", "nodeName", "metricsPort", "metricsAddress"}
    assert set(known) == {key.top for key in daemon_keys.KEYS} - own
    given: dict[str, Any] = {}
    for key in daemon_keys.KEYS:
        sample = key.choices[0] if key.choices else _SAMPLES.get(str(key.kind), "x")
        if key.top not in own and "." not in key.name:
            given[key.name] = key.default if key.default is not None else sample
    Settings.of(daemon_json(helm.render(daemon=given)), "daemon.json", {})
    for name in given:
        with pytest.raises(helm.error, match=f"{name}s"):
            helm.texts({"image": IMAGE, "daemon": {f"{name}s": given[name]}})


def test_a_number_that_the_daemon_refuses_is_refused_before(helm: Helm) -> None:
    bounded = [key for key in daemon_keys.KEYS if key.least is not None]
    for key in bounded:
        if key is daemon_keys.METRICS_PORT:
            continue
        assert key.least is not None
        values = [key.least - 1] + ([key.most + 1] if key.most is not None else [])
        for value in values:
            outer, _, inner = key.name.partition(".")
            given = {outer: {inner: value} if inner else value}
            with pytest.raises(helm.error, match=inner or outer):
                helm.texts({"image": IMAGE, "daemon": given})


# --- Hooks and notes ------------------------------------------------------------------------------


def test_every_node_is_uninstalled_before_anything_is_deleted(helm: Helm) -> None:
    hooks = helm.hooks("pre-delete")
    weights = {
        key: int(wire["metadata"]["annotations"]["helm.sh/hook-weight"])
        for key, wire in hooks.items()
    }
    assert weights["Role", UNINSTALL] < weights["DaemonSet", UNINSTALL] < weights["Job", UNINSTALL]
    (wait,) = containers(hooks["Job", UNINSTALL])
    arguments = parser().parse_args(wait["args"])
    assert arguments.wait_for == f"kube-system/{UNINSTALL}"
    job = hooks["Job", UNINSTALL]["spec"]
    assert job["activeDeadlineSeconds"] > arguments.seconds
    # It sees that one DaemonSet, and nothing else.
    assert hooks["Role", UNINSTALL]["rules"] == [
        {
            "apiGroups": ["apps"],
            "resources": ["daemonsets"],
            "resourceNames": [UNINSTALL],
            "verbs": ["get"],
        }
    ]
    for wire in hooks.values():
        policy = wire["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
        assert policy == "before-hook-creation,hook-succeeded"
    assert helm.hooks("pre-delete", uninstall={"enabled": False}) == {}


def test_uninstalling_takes_the_folders_that_installing_had(
    helm: Helm, daemonset: dict[str, Any]
) -> None:
    def writable(container: Mapping[str, Any]) -> set[str]:
        mounts = container["volumeMounts"]
        return {each["mountPath"] for each in mounts if not each.get("readOnly")}

    install, _, refresh = containers(daemonset)
    uninstall, _ = containers(helm.all()["DaemonSet", UNINSTALL])
    # It also removes what the daemon keeps beside the records.
    expected = writable(install) | {"/var/lib/cni"}
    # Of one node, it is called in 'refresh'.
    assert writable(uninstall) == writable(refresh) == expected


def test_the_notes_tell_of_definitions_that_helm_does_not_update(helm: Helm) -> None:
    values = {"image": IMAGE}
    said = "helm show crds CHART | kubectl apply --server-side -f -"
    assert said not in helm.texts(values)["NOTES.txt"]
    updated = helm.texts(values, is_upgrade=True, is_install=False, revision=2)["NOTES.txt"]
    assert said in updated
    assert "being updated" in updated


@pytest.mark.parametrize("enabled", [True, False])
def test_the_notes_say_what_uninstalling_does_to_nodes(helm: Helm, enabled: bool) -> None:
    values = {"image": IMAGE, "uninstall": {"enabled": enabled}}
    notes = helm.texts(values)["NOTES.txt"]
    assert ("first uninstalls Multus from every node" in notes) is enabled
    assert ("-c refresh -- multus uninstall" in notes) is not enabled


def test_a_subnet_reaches_the_network_of_the_test(helm: Helm) -> None:
    made = helm.hooks("test", test={"subnet": "fd00::/64"})
    definition = made["NetworkAttachmentDefinition", "multus-python-test"]
    config = json.loads(definition["spec"]["config"])
    assert config["ipam"] == {"type": "host-local", "subnet": "fd00::/64"}


def test_the_charts_copies_are_those_of_the_manifests() -> None:
    origins = ("crds", "monitoring", "whereabouts/crds", "whereabouts/blocks", "claims/crds")
    for path in [*(CHART / "crds").iterdir(), *(CHART / "files").rglob("*.*")]:
        (own,) = (
            DEPLOY / each / path.name for each in origins if (DEPLOY / each / path.name).exists()
        )
        assert path.read_bytes() == own.read_bytes()


def test_the_chart_has_the_projects_version() -> None:
    from multus import __version__

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
