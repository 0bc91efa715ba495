"""Documents of each kind that people publish: validate calls the valid ones valid.

The files are in ``published``; each is a kind of definition, pod or configuration that works on the
Go Multus, or a mistake that is often made with them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import frozen
from unit.cli.conftest import Command

FOLDER = Path(__file__).with_name("published")


@frozen
class Verdict:
    """How many findings of each severity, and the first error: where it is, and a part of it."""

    warnings: int = 0
    unchecked: int = 0
    error: str = ""
    at: tuple[int, int] | None = None


RIGHT = Verdict()
VERDICTS = {
    "another-default-network.yaml": RIGHT,
    "bond.yaml": Verdict(unchecked=1),
    "bridge-and-tuning.yaml": RIGHT,
    "bridge-of-virtual-machines.yaml": Verdict(warnings=1, unchecked=1),
    "bridge.yaml": RIGHT,
    "calico.yaml": Verdict(unchecked=1),
    "cluster-objects.yaml": RIGHT,
    "cron-and-job.yaml": RIGHT,
    "daemon-config.json": RIGHT,
    "daemon.yaml": RIGHT,
    "default-route.yaml": Verdict(warnings=2),
    "documents-and-nothing.yaml": RIGHT,
    "empty-config.yaml": Verdict(unchecked=1),
    "flannel-chain.yaml": RIGHT,
    "flannel.yaml": RIGHT,
    "gateway-key.yaml": Verdict(warnings=1),
    "host-device.yaml": RIGHT,
    "ib-sriov.yaml": Verdict(warnings=1, unchecked=1),
    "ipvlan-static.yaml": RIGHT,
    "list-of-its-kind.json": RIGHT,
    "list.yaml": RIGHT,
    "mac-without-capability.yaml": Verdict(warnings=1),
    "macvlan-dhcp.yaml": RIGHT,
    "no-config.yaml": Verdict(unchecked=1),
    "node-shim.conf": RIGHT,
    "node-thin.conf": RIGHT,
    "overlay-primary.yaml": Verdict(unchecked=1),
    "overlay-provider.yaml": RIGHT,
    "overlay-secondary.yaml": Verdict(warnings=2),
    "ovs.yaml": Verdict(unchecked=1),
    "pod-alone.yaml": Verdict(unchecked=2),
    "rdma-chain.yaml": Verdict(unchecked=1),
    "sriov.yaml": Verdict(unchecked=1),
    "status-of-a-pod.yaml": RIGHT,
    "userspace.yaml": RIGHT,
    "virtual-machine.yaml": Verdict(error="nothing to check"),
    "vlan-vrf-bandwidth.yaml": RIGHT,
    "whereabouts-many-ranges.yaml": RIGHT,
    "bad-config-is-an-object.yaml": Verdict(error="must be a string", at=(5, 3)),
    "bad-folded.yaml": Verdict(error="a comma stands before", at=(8, 24)),
    "bad-group.yaml": Verdict(error="does not serve", at=(1, 1)),
    "bad-list.json": Verdict(error="must be an object, not a list", at=(1, 1)),
    "bad-no-type.yaml": Verdict(error="'type' is missing", at=(4, 8)),
    "bad-not-json.yaml": Verdict(error="it ends too early", at=(5, 53)),
    "bad-null.json": Verdict(error="must be an object, not null", at=(1, 1)),
    "bad-resource-and-type.yaml": Verdict(unchecked=1, error="'type' is missing", at=(5, 8)),
    "bad-selection.yaml": Verdict(error="it ends too early", at=(5, 62)),
    "bad-subnet.yaml": Verdict(warnings=1, error="not a network in CIDR form", at=(4, 8)),
    "bad-template.yaml": Verdict(error="this is not YAML"),
    "bad-text.yaml": Verdict(error="must be an object, not a list", at=(1, 1)),
    "bad-trailing-comma.yaml": Verdict(error="a comma stands before", at=(7, 23)),
    "bad-two-interfaces.yaml": Verdict(error="'data'", at=(11, 5)),
}


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir()))
def test_validate_says_of_each_kind_what_is_true(multus: Command, name: str) -> None:
    verdict = VERDICTS[name]
    said = multus("validate", "--json", "--off-node", FOLDER / name)
    found: dict[str, list[dict[str, object]]] = {}
    for each in said.json["findings"]:
        if each["subject"] != "node":
            found.setdefault(each["severity"], []).append(each)
    errors = found.get("error", [])
    assert len(found.get("warning", [])) == verdict.warnings, found
    unchecked = found.get("unchecked", [])
    assert verdict.unchecked == len(unchecked), found
    assert len(errors) == bool(verdict.error), found
    missing = any("is not in the given files" in str(each["reason"]) for each in unchecked)
    assert said.status == (1 if verdict.error else 3 if missing else 0)
    for error in errors:
        assert verdict.error in str(error["reason"])
        assert verdict.at in (None, (error.get("line"), error.get("column")))


def test_the_count_of_what_is_not_checked_is_in_the_last_line(multus: Command) -> None:
    said = multus("validate", "-f", FOLDER / "pod-alone.yaml", "-f", FOLDER / "sriov.yaml")
    assert said.out.splitlines()[-1] == (
        "? 3 checked in 2 file(s): 0 problem(s), 0 warning(s), 4 not checked"
    )
    assert said.status == 3
    assert said.out.count("\n? ") == 4


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n---\n"])
def test_a_file_with_nothing_in_it_is_not_called_valid(
    multus: Command, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text(text)
    said = multus("validate", "-f", path)
    assert (said.status, said.out.splitlines()[-1]) == (
        1,
        "✗ 0 checked in 1 file(s): 1 problem(s), 0 warning(s)",
    )
    assert "nothing to check" in said.out
