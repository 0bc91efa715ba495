from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[3] / "deploy"
CHART = DEPLOY / "helm" / "multus"
#: The oldest version of Kubernetes that knows every field, and the newest that the validator knows.
VERSIONS = ("1.30", "1.37")
IMAGE = {"repository": "registry.example/multus"}

#: Objects by kind and name.
Objects = dict[tuple[str, str], dict[str, Any]]


def objects(text: str) -> Objects:
    """Objects by kind and name."""
    found = [each for each in yaml.safe_load_all(text) if each]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def containers(workload: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    spec = workload["spec"]["template"]["spec"]
    yield from spec.get("initContainers", ())
    yield from spec["containers"]


def validate(wire: Mapping[str, Any], version: str) -> None:
    """Compare an object with the schema of this version of Kubernetes."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    kubernetes_validate.validate(wire, version, strict=True)


class Helm:
    """Helm's own engine, as a library, with the chart in *folder*."""

    def __init__(self, library: Any, folder: Path = CHART) -> None:
        self.library = library
        self.folder = folder

    @property
    def error(self) -> type[Exception]:
        return self.library.HelmError  # type: ignore[no-any-return]

    def texts(self, values: Mapping[str, Any], **options: Any) -> dict[str, str]:
        """What the chart renders, by file; *options* as ``Chart.render`` has them."""
        with self.library.Chart.load(str(self.folder)) as chart:
            chart.validate_schema(values)
            made = chart.render(values, name="multus", namespace="kube-system", **options)
        prefix = f"{self.folder.name}/templates/"
        return {path.removeprefix(prefix): text for path, text in made.items()}

    def all(self, **values: Any) -> Objects:
        """All objects, the hooks' too."""
        found: Objects = {}
        for path, text in self.texts({"image": IMAGE, **values}).items():
            if path != "NOTES.txt":
                found |= objects(text)
        return found

    def render(self, **values: Any) -> Objects:
        """The objects of the release."""
        return {key: wire for key, wire in self.all(**values).items() if not hook(wire)}

    def hooks(self, name: str, **values: Any) -> Objects:
        """The objects of a hook, such as ``test``."""
        return {key: wire for key, wire in self.all(**values).items() if hook(wire) == name}

    def for_kubernetes(self, version: str, folder: Path) -> Helm:
        """The chart as that version of Kubernetes gets it; the library renders for one alone."""
        copy = shutil.copytree(self.folder, folder / self.folder.name)
        helpers = copy / "templates" / "_helpers.tpl"
        text = helpers.read_text()
        assert text.count(".Capabilities.KubeVersion.Version") == 1
        helpers.write_text(text.replace(".Capabilities.KubeVersion.Version", f'"v{version}.0"'))
        return Helm(self.library, copy)


def hook(wire: Mapping[str, Any]) -> str:
    """The hook that the object belongs to; empty for one of the release."""
    return str((wire["metadata"].get("annotations") or {}).get("helm.sh/hook", ""))


def bare(wire: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what Helm adds to everything, and with any image."""
    plain: dict[str, Any] = json.loads(json.dumps(wire))
    for meta in (plain["metadata"], plain.get("spec", {}).get("template", {}).get("metadata", {})):
        meta.pop("annotations", None)
    plain["metadata"].pop("labels", None)
    if "template" in plain.get("spec", {}):
        for each in containers(plain):
            assert isinstance(each, dict)
            each.pop("imagePullPolicy", None)
            each["image"] = each["image"].rpartition("/")[2]
    return plain


@pytest.fixture(scope="session")
def helm() -> Helm:
    reason = "pip install helm-python-sdk to render it"
    return Helm(pytest.importorskip("helm_python", reason=reason))


@pytest.fixture
def daemonset() -> dict[str, Any]:
    (found,) = yaml.safe_load_all((DEPLOY / "daemonset" / "daemonset.yaml").read_text())
    return dict(found)
