from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from reliability.cgroup import DAEMONSET_BYTES
from unit.deploy.conftest import DEPLOY, objects

from multus.cli import parser
from multus.daemon.memory import affordable
from multus.daemon.settings import Limits, Settings

CHART = DEPLOY / "helm" / "multus"
#: The oldest version that knows every field, and the newest that the validator knows.
VERSIONS = ("1.30", "1.37")


def containers(daemonset: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    spec = daemonset["spec"]["template"]["spec"]
    yield from spec["initContainers"]
    yield from spec["containers"]


def validate(wire: Mapping[str, Any], version: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    kubernetes_validate.validate(wire, version, strict=True)


# --- The DaemonSet --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_the_daemonset_fits_the_schema(daemonset: dict[str, Any], version: str) -> None:
    validate(daemonset, version)


def test_no_container_is_throttled_and_the_memory_of_each_is_bounded(
    daemonset: dict[str, Any],
) -> None:
    for each in containers(daemonset):
        assert set(each["resources"]["limits"]) == {"memory"}, each["name"]
        assert set(each["resources"]["requests"]) == {"cpu", "memory"}, each["name"]
    # The kubelet protects the processes of this class alone as it does Guaranteed pods.
    spec = daemonset["spec"]["template"]["spec"]
    assert spec["priorityClassName"] == "system-node-critical"


@pytest.mark.parametrize("path", ["daemonset/daemonset.yaml", "helm/multus/values.yaml"])
def test_the_daemons_memory_is_enough_for_its_workers_and_their_binaries(
    daemonset: dict[str, Any], path: str
) -> None:
    (daemon,) = (each for each in containers(daemonset) if each["name"] == "daemon")
    amount = daemon["resources"]["limits"]["memory"]
    workers = affordable(Limits().workers, int(amount.removesuffix("Mi")) << 20)
    text = " ".join((DEPLOY / path).read_text().replace("#", "").split())
    assert f"64 MiB for the daemon, and for each of {workers} workers 16 MiB and 16 more" in text
    assert int(amount.removesuffix("Mi")) << 20 == DAEMONSET_BYTES


def test_running_calls_have_time_to_end(daemonset: dict[str, Any]) -> None:
    spec = daemonset["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > Limits().stop_seconds


def test_no_container_has_more_rights_than_it_says_why(daemonset: dict[str, Any]) -> None:
    added = {}
    for each in containers(daemonset):
        context = each["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"]["drop"] == ["ALL"]
        assert "privileged" not in context
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        added[each["name"]] = context["capabilities"].get("add", [])
    assert added == {
        "install": [],
        "daemon": ["NET_ADMIN", "SYS_ADMIN", "NET_RAW", "SYS_CHROOT", "SYS_PTRACE"],
        "refresh": [],
    }
    assert "hostPID" not in daemonset["spec"]["template"]["spec"]


def test_every_mount_has_its_volume_and_paths_are_the_nodes(daemonset: dict[str, Any]) -> None:
    volumes = {each["name"]: each for each in daemonset["spec"]["template"]["spec"]["volumes"]}
    used = set()
    for container in containers(daemonset):
        for mount in container["volumeMounts"]:
            used.add(mount["name"])
            host = volumes[mount["name"]].get("hostPath")
            if host is not None and mount["name"] != "host":
                # The configuration names paths: they have to mean the same on both sides.
                assert mount["mountPath"] == host["path"]
    assert used == set(volumes)


def test_the_commands_are_ones_that_the_program_takes(daemonset: dict[str, Any]) -> None:
    known = parser()
    for each in containers(daemonset):
        if "args" in each:
            known.parse_args(each["args"])
        else:
            assert each["command"][-1].endswith("exec multus daemon")


def test_the_daemon_takes_its_settings(daemonset: dict[str, Any]) -> None:
    raw = json.loads((DEPLOY / "daemonset" / "daemon.json").read_text())
    settings = Settings.of(raw, "daemon.json", {})
    mounts = {
        mount["mountPath"]
        for each in containers(daemonset)
        if each["name"] == "daemon"
        for mount in each["volumeMounts"]
    }
    assert settings.chroot in mounts
    assert os.path.dirname(settings.socket) in mounts
    assert os.path.dirname(settings.cni_dir) in mounts
    assert os.path.dirname(os.path.dirname(settings.kubeconfig)) in mounts


# --- kustomize ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kustomized() -> dict[tuple[str, str], dict[str, Any]]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY)], capture_output=True, text=True, check=True
    )
    return objects(done.stdout)


def test_the_base_builds_and_fits_the_schema(
    kustomized: dict[tuple[str, str], dict[str, Any]],
) -> None:
    kinds = sorted(kind for kind, _ in kustomized)
    assert kinds == [
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "CustomResourceDefinition",
        "CustomResourceDefinition",
        "DaemonSet",
        "ServiceAccount",
    ]
    for each in kustomized.values():
        validate(each, VERSIONS[-1])


def test_the_bases_pod_reads_the_generated_settings(
    kustomized: dict[tuple[str, str], dict[str, Any]],
) -> None:
    (name,) = (name for kind, name in kustomized if kind == "ConfigMap")
    pod = kustomized["DaemonSet", "multus-python"]["spec"]["template"]["spec"]
    assert pod["volumes"][0] == {"name": "config", "configMap": {"name": name}}
    assert (
        pod["serviceAccountName"]
        == kustomized["ServiceAccount", "multus-python"]["metadata"]["name"]
    )


# --- Helm -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def helm() -> Any:
    """Helm's own engine, as a library."""
    return pytest.importorskip("helm_python", reason="pip install helm-python-sdk to render it")


def render(helm: Any, **values: Any) -> dict[tuple[str, str], dict[str, Any]]:
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        rendered = chart.render(values, name="multus", namespace="kube-system")
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path, text in rendered.items():
        if not path.endswith("NOTES.txt"):
            found |= objects(text)
    return found


def without_labels(wire: dict[str, Any]) -> dict[str, Any]:
    """What Helm adds to everything, taken away."""
    wire = json.loads(json.dumps(wire))
    wire["metadata"].pop("labels", None)
    template = wire.get("spec", {}).get("template", {})
    template.get("metadata", {}).pop("annotations", None)
    for each in (template.get("spec") or {}).get("initContainers", []) + (
        template.get("spec") or {}
    ).get("containers", []):
        each.pop("imagePullPolicy", None)
    return dict(wire)


def test_the_chart_has_no_lint(helm: Any) -> None:
    report = helm.lint(str(CHART), strict=True, namespace="kube-system", kube_version="v1.32.0")
    worse = [each for each in report["messages"] if each["severity"] > 1]
    assert (worse, report["errors"]) == ([], [])


def test_the_chart_renders_what_the_manifests_say(helm: Any, daemonset: dict[str, Any]) -> None:
    rendered = render(helm)
    assert without_labels(rendered["DaemonSet", "multus-python"]) == without_labels(daemonset)
    rbac = objects((DEPLOY / "rbac" / "multus.yaml").read_text())
    for key, wire in rbac.items():
        assert without_labels(rendered[key]) == without_labels(wire)
    settings = json.loads(rendered["ConfigMap", "multus-python"]["data"]["daemon.json"])
    assert settings == json.loads((DEPLOY / "daemonset" / "daemon.json").read_text())
    assert set(rendered) == {("DaemonSet", "multus-python"), ("ConfigMap", "multus-python"), *rbac}


VALUES: list[dict[str, Any]] = [
    {},
    {"image": {"repository": "registry.example:5000/multus", "tag": "1"}, "hostPID": True},
    {"extraCapabilities": ["BPF", "IPC_LOCK"], "sriov": True, "waitForNetwork": 0},
    {"resources": {"daemon": {"limits": {"cpu": 2, "memory": "1Gi"}}}},
    {
        "priorityClassName": "",
        "nodeSelector": {},
        "tolerations": [],
        "imagePullSecrets": [{"name": "x"}],
    },
    {"paths": {"netD": "/k3s/net.d", "binDir": "/k3s/bin"}, "daemon": {"workers": 8}},
]


@pytest.mark.parametrize("values", VALUES, ids=str)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_chart_renders_fits_the_schema(
    helm: Any, values: dict[str, Any], version: str
) -> None:
    rendered = render(helm, **values)
    for wire in rendered.values():
        validate(wire, version)
    known = parser()
    for each in containers(rendered["DaemonSet", "multus-python"]):
        if "args" in each:
            known.parse_args(each["args"])
    settings = json.loads(rendered["ConfigMap", "multus-python"]["data"]["daemon.json"])
    Settings.of(settings, "daemon.json", {})


def test_keys_of_the_configuration_reach_the_file_that_the_installer_reads(helm: Any) -> None:
    data = render(helm, configuration={"namespaceIsolation": True})
    settings = data["ConfigMap", "multus-python"]["data"]["multus.json"]
    assert json.loads(settings) == {"namespaceIsolation": True}
    default = render(helm)["ConfigMap", "multus-python"]["data"]["multus.json"]
    assert json.loads(default) == json.loads((DEPLOY / "daemonset" / "multus.json").read_text())
    for each in containers(data["DaemonSet", "multus-python"]):
        if "args" in each:
            given = each["args"][each["args"].index("--settings") + 1]
            mounts = {mount["mountPath"]: mount.get("subPath") for mount in each["volumeMounts"]}
            assert mounts[given] == "multus.json"


def test_other_folders_reach_every_place(helm: Any) -> None:
    rendered = render(helm, paths={"netD": "/k3s/net.d", "binDir": "/k3s/bin"})
    wire = rendered["DaemonSet", "multus-python"]
    for each in containers(wire):
        mounted = {mount["mountPath"] for mount in each["volumeMounts"]}
        assert "/k3s/net.d" in mounted
        assert "/etc/cni/net.d" not in mounted
        if "args" in each:
            assert each["args"][-4:] == ["--net-d", "/k3s/net.d", "--bin-dir", "/k3s/bin"]
    settings = json.loads(rendered["ConfigMap", "multus-python"]["data"]["daemon.json"])
    assert settings["kubeconfig"] == "/k3s/net.d/multus.d/multus.kubeconfig"


@pytest.mark.parametrize(
    "values",
    [{"paths": {"netD": "relative"}}, {"sriov": "yes"}, {"unheardOf": 1}],
    ids=str,
)
def test_wrong_values_are_refused(helm: Any, values: dict[str, Any]) -> None:
    with pytest.raises(helm.HelmError):
        render(helm, **values)


def test_the_charts_definitions_are_those_of_the_manifests() -> None:
    for path in sorted((CHART / "crds").iterdir()):
        assert path.read_bytes() == (DEPLOY / "crds" / path.name).read_bytes()


def test_one_version_stands_everywhere(daemonset: dict[str, Any]) -> None:
    from multus import __version__

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    kustomization = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())
    images = {each["image"] for each in containers(daemonset)}
    assert images == {f"multus:{__version__}"}
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    assert kustomization["images"][0]["newTag"] == __version__
