from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from reliability.cgroup import DAEMONSET_BYTES
from unit.deploy.conftest import (
    DEPLOY,
    VERSIONS,
    Objects,
    containers,
    objects,
    validate,
)
from waiting import PATIENCE, eventually

from multus.cli import parser
from multus.daemon.memory import affordable
from multus.daemon.settings import Limits, Settings

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


def kustomize(folder: Path) -> Objects:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return objects(done.stdout)


@pytest.fixture(scope="module")
def kustomized() -> Objects:
    return kustomize(DEPLOY)


def overlay(folder: Path, *components: str, base: str = "") -> Objects:
    """What an overlay with an image of its own makes of the base."""
    where = os.path.relpath(DEPLOY, folder.resolve())
    wire = {
        "resources": [f"{where}/{base}"],
        "components": [f"{where}/{each}" for each in components],
        "images": [{"name": "registry.invalid/multus", "newName": "registry.example/multus"}],
    }
    (folder / "kustomization.yaml").write_text(json.dumps(wire))
    return kustomize(folder)


def test_the_base_builds_and_fits_the_schema(kustomized: Objects) -> None:
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


def test_the_bases_pod_reads_the_generated_settings(kustomized: Objects) -> None:
    (name,) = (name for kind, name in kustomized if kind == "ConfigMap")
    pod = kustomized["DaemonSet", "multus-python"]["spec"]["template"]["spec"]
    assert pod["volumes"][0] == {"name": "config", "configMap": {"name": name}}
    assert (
        pod["serviceAccountName"]
        == kustomized["ServiceAccount", "multus-python"]["metadata"]["name"]
    )


def test_without_an_overlay_the_image_is_at_a_registry_that_cannot_be(kustomized: Objects) -> None:
    for each in containers(kustomized["DaemonSet", "multus-python"]):
        # RFC 2606: no name in .invalid is ever assigned.
        assert each["image"].startswith("registry.invalid/multus:")


def test_an_overlay_names_the_image_of_every_container(tmp_path: Path) -> None:
    from multus import __version__

    for base, name in (("", "multus-python"), ("uninstall", "multus-python-uninstall")):
        made = overlay(tmp_path, base=base)["DaemonSet", name]
        images = {each["image"] for each in containers(made)}
        assert images == {f"registry.example/multus:{__version__}"}


def test_before_1_30_an_annotation_stands_for_the_profile(tmp_path: Path) -> None:
    made = overlay(tmp_path, "before-1.30")["DaemonSet", "multus-python"]
    validate(made, "1.25")
    annotations = made["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"container.apparmor.security.beta.kubernetes.io/daemon": "unconfined"}


def test_nodes_are_uninstalled_by_pods_that_fit_the_schema(tmp_path: Path) -> None:
    ((_, wire),) = overlay(tmp_path, base="uninstall").items()
    for version in ("1.25", *VERSIONS):
        validate(wire, version)
    uninstall, _ = containers(wire)
    parser().parse_args(uninstall["args"])


#: This machine's, and the image's.
SHELLS = [["/bin/sh"]] + ([["busybox", "sh"]] if shutil.which("busybox") else [])


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_the_pod_of_a_node_that_is_done_ends_when_it_is_told_to(shell: list[str]) -> None:
    """As the first process of a container it would ignore SIGTERM without a handler."""
    (wire,) = objects((DEPLOY / "uninstall" / "daemonset.yaml").read_text()).values()
    _, done = containers(wire)
    assert done["command"][0] == "/bin/sh"
    process = subprocess.Popen([*shell, *done["command"][1:]], start_new_session=True)
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        eventually(children.read_text)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        os.killpg(process.pid, signal.SIGKILL)


# --- In step --------------------------------------------------------------------------------------


def test_the_images_have_the_projects_version(daemonset: dict[str, Any]) -> None:
    from multus import __version__

    images = {each["image"] for each in containers(daemonset)}
    assert images == {f"registry.invalid/multus:{__version__}"}
