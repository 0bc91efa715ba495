"""``multus gc`` names each thing that it removes, and leaves doctor nothing to complain of."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from kernel import require_nftables
from waiting import eventually

from integration.cli.conftest import MadeUpNode, Pods
from integration.cli.test_narrow import on_terminal

_COMPLAINTS = ("warning", "error", "unchecked")


@pytest.fixture
def littered(made_up: MadeUpNode, cni_pods: Pods) -> MadeUpNode:
    """A node with a living container, two whose DEL never came, and an address of nobody."""
    require_nftables()
    delegates: list[dict[str, Any]] = [*made_up.conf()["delegates"]]
    delegates[0] |= {"ipMasq": True, "ipMasqBackend": "nftables"}
    conf = made_up.healthy(delegates=delegates)
    made_up.write("daemon.json", {"cniDir": str(made_up.folder / "state")})
    made_up.attach(conf, cni_pods(), id="living")
    living = made_up.host.links().keys()
    for name in ("dead", "d" * 64):
        pod = cni_pods()
        made_up.attach(conf, pod, id=name, args="K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web")
        pod.remove()
    eventually(lambda: made_up.host.links().keys() == living)
    path = made_up.write("networks/lan/10.77.0.99", "nobody\r\neth0")
    os.utime(path, (0, 0))
    return made_up


def gc(node: MadeUpNode, *more: str) -> list[str]:
    where = ("--cni-dir", node.folder / "state", "-c", node.folder / "net.d" / "00-multus.conf")
    done = node.run("gc", *where, *more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def complaints(node: MadeUpNode) -> list[dict[str, Any]]:
    """What doctor complains of in the journal and of leaks."""
    return [
        each
        for each in node.doctor()[1]
        if each["severity"] in _COMPLAINTS
        and (each["subject"] == "journal" or "leak" in each["subject"])
    ]


@pytest.mark.usefixtures("every_process")
def test_a_dry_run_and_a_run_list_the_same_and_then_doctor_agrees(littered: MadeUpNode) -> None:
    assert {each["subject"] for each in complaints(littered)} == {
        *("journal", "leaked addresses", "leaked rules"),
    }
    dry = gc(littered, "--dry-run")
    assert gc(littered) == [line.replace("would be removed: ", "removed: ") for line in dry]
    assert [line.partition(": ")[2] for line in dry] == [
        "address 10.77.0.99 of 'lan': container nobody has no record, and no namespace that lives"
        " has it",
        "container dead of pod shop/web, eth0 (lan): its network namespace is gone",
        "1 firewall rule(s) for masquerading of 'lan': container dead is gone",
        "address 10.77.0.3 of 'lan': container dead is gone",
        "container ddddddddddddd... of pod shop/web, eth0 (lan): its network namespace is gone",
        "1 firewall rule(s) for masquerading of 'lan': container ddddddddddddd... is gone",
        "address 10.77.0.4 of 'lan': container ddddddddddddd... is gone",
    ]
    assert complaints(littered) == []
    assert gc(littered) == ["no garbage: every container with a record is alive"]
    assert sorted(os.listdir(littered.folder / "networks" / "lan"))[0] == "10.77.0.2"


@pytest.mark.usefixtures("every_process")
def test_json_has_the_whole_id_and_the_reason(littered: MadeUpNode) -> None:
    report = json.loads("\n".join(gc(littered, "--dry-run", "--json")))
    assert (report["left"], report["errors"]) == ([], [])
    kinds = [each["kind"] for each in report["removed"]]
    assert kinds == ["address", *["record", "rules", "address"] * 2]
    record = report["removed"][4]
    assert (record["containerID"], record["pod"], record["alive"]) == ("d" * 64, "shop/web", False)
    assert record["reason"] == "its network namespace is gone"


@pytest.mark.usefixtures("every_process")
def test_lines_fit_into_80_columns(littered: MadeUpNode) -> None:
    where = f"--cni-dir {littered.folder}/state -c {littered.folder}/net.d/00-multus.conf"
    program = littered.host.command(list(littered.program))
    lines = on_terminal(program, f"gc --dry-run {where}", 80)
    assert [line for line in lines if len(line) > 80] == []
    assert "would be removed: address 10.77.0.99 of 'lan': container nobody has no record," in lines
    assert "    and no namespace that lives has it" in lines


def test_a_runtime_that_does_not_answer_is_an_error_and_nothing_goes(
    littered: MadeUpNode, tmp_path: Path
) -> None:
    before = littered.host.state(str(littered.folder / "networks"), str(littered.folder / "state"))
    where = ("--cni-dir", littered.folder / "state", "--cri", tmp_path / "none.sock")
    done = littered.run("gc", *where)
    assert done.returncode == 1
    assert f"cannot be read from {tmp_path}/none.sock" in done.stdout
    after = littered.host.state(str(littered.folder / "networks"), str(littered.folder / "state"))
    assert before.difference(after) == []
