"""The manifests in deploy/ are valid for Kubernetes, and grant what Multus needs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from multus.registry.index import discover
from multus.registry.loading import load

DEPLOY = Path(__file__).parents[3] / "deploy"
FOLDERS = (
    *("crds", "rbac", "examples", "claims", "claims/crds"),
    *("whereabouts", "whereabouts/crds", "whereabouts/blocks"),
)
FILES = sorted(
    path
    for folder in FOLDERS
    for path in (DEPLOY / folder).glob("*.yaml")
    if path.name != "kustomization.yaml"
)

#: Kinds that today's Kubernetes has removed.
OLD = {"apiextensions.k8s.io/v1beta1", "extensions/v1beta1"}


def objects(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def schema_of(name: str) -> dict[str, Any]:
    (definition,) = objects(DEPLOY / "crds" / name)
    return dict(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_object_fits_kubernetes_schemas(path: Path) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for wire in objects(path):
        if wire["apiVersion"] in OLD or wire["apiVersion"].endswith(".cncf.io/v1"):
            continue
        validate.validate(wire, "1.32", strict=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_network_fits_the_schema_of_its_kind(path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schemas = {
        "Network": schema_of("networks.yaml"),
        "NetworkAttachmentDefinition": schema_of("network-attachment-definitions.yaml"),
    }
    for wire in objects(path):
        if wire["kind"] in schemas:
            jsonschema.validate(wire, schemas[wire["kind"]])
            text = wire.get("args") or wire["spec"]["config"]
            assert json.loads(text)


@pytest.mark.parametrize("name", ["networks.yaml", "network-attachment-definitions.yaml"])
def test_schemas_are_structural(name: str) -> None:
    """Kubernetes' rules: a type at every node, nothing but known keywords."""

    def check(node: dict[str, Any]) -> None:
        assert node["type"] in ("object", "string")
        assert set(node) <= {"type", "description", "properties", "required", "minLength"}
        for child in node.get("properties", {}).values():
            check(child)

    check(schema_of(name))


def test_names_of_kinds_follow_from_their_group() -> None:
    for path in DEPLOY.rglob("crds/*.yaml"):
        for wire in objects(path):
            if wire["kind"] != "CustomResourceDefinition":
                continue
            spec = wire["spec"]
            assert wire["metadata"]["name"] == f"{spec['names']['plural']}.{spec['group']}"


def test_both_forms_of_the_network_kind_serve_the_same() -> None:
    (today,), (old,) = (
        objects(DEPLOY / "crds" / name) for name in ("networks.yaml", "networks-v1beta1.yaml")
    )
    for key in ("group", "scope", "names"):
        assert today["spec"][key] == old["spec"][key]
    assert today["spec"]["versions"][0]["name"] == old["spec"]["version"] == "v1"
    (tpr,) = objects(DEPLOY / "crds" / "networks-tpr.yaml")
    assert tpr["metadata"]["name"] == f"network.{old['spec']['group']}"


def test_the_account_may_do_what_the_plugins_do_and_no_more() -> None:
    """The daemon lists and watches what it caches: its node's pods, and what plugins ask for."""
    files = ("rbac/multus.yaml", "whereabouts/rbac.yaml", "claims/rbac.yaml")
    roles = [each for path in files for each in objects(DEPLOY / path) if "rules" in each]
    granted = {
        (verb, resource, group)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    uses = load(discover()).hooks.kubernetes()
    done = {("list", "pods", ""), ("watch", "pods", "")}
    for use in uses:
        kind = use.resource
        plural = f"{kind.plural}/{use.subresource}" if use.subresource else kind.plural
        verbs = (use.verb, *(("list", "watch") if use.cached else ()))
        done |= {(verb, plural, kind.group) for verb in verbs}
    assert granted == done
    assert not re.search(r"\*", json.dumps([role["rules"] for role in roles]))
