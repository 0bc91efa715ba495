"""Rights and kinds for addresses that are unique in a cluster: none unless they are asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from unit.deploy.conftest import DEPLOY, IMAGE, VERSIONS, Helm, Objects, bare, objects, validate
from unit.deploy.test_manifests import overlay

from multus.kube.leases import LEASES
from multus.registry.index import discover
from multus.registry.loading import load

WHEREABOUTS, CLAIMS = "multus-python-whereabouts", "multus-python-claims"
KINDS = {
    "ippools.whereabouts.cni.cncf.io": "whereabouts/crds/ippools.yaml",
    "overlappingrangeipreservations.whereabouts.cni.cncf.io": (
        "whereabouts/crds/overlappingrangeipreservations.yaml"
    ),
    "addressblocks.ipam.multus": "whereabouts/blocks/addressblocks.yaml",
    "ipamclaims.k8s.cni.cncf.io": "claims/crds/ipamclaims.yaml",
}
ALL = {"enabled": True, "crds": True, "blocks": True, "claims": {"enabled": True, "crds": True}}
RECORDED = Path(__file__).parents[2] / "integration" / "whereabouts" / "recorded.json"


def added(made: Objects, before: Objects) -> set[tuple[str, str]]:
    return set(made) - set(before)


def kinds(*names: str) -> set[tuple[str, str]]:
    return {("CustomResourceDefinition", name) for name in names}


def rights(name: str, *more: str) -> set[tuple[str, str]]:
    return {(kind, name) for kind in ("ClusterRole", "ClusterRoleBinding", *more)}


def test_values_add_rights_and_kinds_one_by_one(helm: Helm) -> None:
    plain = helm.render()
    pools, reservations, blocks, _ = KINDS
    own = rights(WHEREABOUTS, "Role", "RoleBinding")
    assert added(helm.render(whereabouts={"enabled": True}), plain) == own
    with_kinds = helm.render(whereabouts={"enabled": True, "crds": True})
    assert added(with_kinds, plain) == own | kinds(pools, reservations)
    with_blocks = helm.render(whereabouts={"enabled": True, "blocks": True})
    assert added(with_blocks, plain) == own | kinds(blocks)
    claiming = helm.render(whereabouts={"enabled": True, "claims": {"enabled": True}})
    assert added(claiming, plain) == own | rights(CLAIMS)
    everything = helm.render(whereabouts=ALL)
    assert added(everything, plain) == own | rights(CLAIMS) | kinds(*KINDS)
    for key in added(everything, plain):
        validate(everything[key], VERSIONS[-1])
    # Without the kind, the API server deletes its objects.
    for key in kinds(*KINDS):
        kept = everything[key]["metadata"]["annotations"]
        assert kept == {"helm.sh/resource-policy": "keep"}


@pytest.mark.parametrize(
    "values",
    [
        {"crds": True},
        {"blocks": True},
        {"claims": {"enabled": True}},
        {"enabled": True, "claims": {"crds": True}},
        {"enabled": "yes"},
        {"kinds": True},
    ],
    ids=str,
)
def test_values_that_need_others_are_refused(helm: Helm, values: dict[str, Any]) -> None:
    with pytest.raises(helm.error, match="whereabouts"):
        helm.all(whereabouts=values)


def test_without_rights_the_plugin_is_blocked(helm: Helm) -> None:
    def blocked(**values: Any) -> list[str]:
        made = helm.render(**values)["ConfigMap", "multus-python"]["data"]["multus.json"]
        return list(json.loads(made).get("blockedPlugins", ()))

    def serves(names: list[str]) -> bool:
        found = load(discover(), names)
        assert found.unmatched(names) == []
        return "ipam-whereabouts" in {each.name for each in found.loaded}

    assert not serves(blocked())
    assert serves(blocked(whereabouts={"enabled": True}))


def test_components_of_kustomize_add_the_same(helm: Helm, tmp_path: Path) -> None:
    plain, rendered = overlay(tmp_path), helm.render(whereabouts=ALL)
    kinds_of = ("whereabouts/crds", "whereabouts/blocks", "claims/crds")
    made = overlay(tmp_path, "whereabouts", "claims", *kinds_of)
    assert added(made, plain) - {key for key in made if key[0] == "ConfigMap"} == added(
        rendered, helm.render()
    )
    for key in added(rendered, helm.render()):
        assert bare(made[key]) == bare(rendered[key])
    (config,) = (wire for (kind, _), wire in made.items() if kind == "ConfigMap")
    assert json.loads(config["data"]["multus.json"]) == {}
    assert set(config["data"]) == {"multus.json", "daemon.json"}


def test_the_lease_is_the_one_that_the_daemon_takes() -> None:
    from multus.daemon.reconciling import LEASE

    role = objects((DEPLOY / "whereabouts" / "rbac.yaml").read_text())["Role", WHEREABOUTS]
    create, other = role["rules"]
    assert role["metadata"]["namespace"] == "kube-system"
    assert (create["verbs"], other["resourceNames"]) == (["create"], [LEASE])
    uses = [use for use in load(discover()).hooks.kubernetes() if use.resource == LEASES]
    assert {use.only for use in uses} == {LEASES.object("kube-system", LEASE)}


def test_the_notes_say_where_the_kinds_come_from(helm: Helm) -> None:
    def notes(**values: Any) -> str:
        made = helm.texts({"image": IMAGE, "whereabouts": values})["NOTES.txt"]
        assert max(map(len, made.splitlines())) < 160
        return made

    assert "whereabouts" not in notes()
    assert "set whereabouts.crds" in notes(enabled=True)
    assert "all pools would be deleted" in notes(enabled=True, crds=True)


def test_what_the_binary_wrote_fits_the_kinds() -> None:
    for path in ("ippools", "overlappingrangeipreservations"):
        schema = _schema(DEPLOY / "whereabouts" / "crds" / f"{path}.yaml")
        found = json.loads(RECORDED.read_text())[path]
        assert found
        for wire in found.values():
            _fits(wire["spec"], schema["properties"]["spec"], path)


def _schema(path: Path) -> dict[str, Any]:
    (wire,) = objects(path.read_text()).values()
    (version,) = wire["spec"]["versions"]
    return dict(version["schema"]["openAPIV3Schema"])


def _fits(value: Any, schema: dict[str, Any], where: str) -> None:
    """No key is missing, and none would be pruned."""
    if schema["type"] != "object":
        assert (schema["type"], type(value)) == ("string", str), where
        return
    assert set(schema.get("required", ())) <= set(value), where
    for key, inner in value.items():
        others = schema.get("additionalProperties")
        _fits(inner, others or schema["properties"][key], f"{where}.{key}")
