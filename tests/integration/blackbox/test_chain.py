"""The node's own chain, and what the Go Multus attached, whoever serves the call."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

from integration.blackbox.program import Multus
from multus.testing.delegates import Reply
from multus.testing.runtime import Container


def written(path: Path, value: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    path.chmod(0o600)
    return str(path)


def test_a_chain_of_the_node_runs_for_a_container(multus: Multus, tmp_path: Path) -> None:
    multus.bin.stand_in("lan").stand_in("step", ADD=Reply.json({"cniVersion": "1.0.0"}))
    net_d = tmp_path / "net.d"
    cluster = written(net_d / "10-lan.conflist", {"name": "lan", "plugins": [{"type": "lan"}]})
    written(net_d / "vendor" / "step.conf", {"type": "step"})
    conf = multus.conf(delegates=None, clusterNetwork=cluster, auxiliaryCNIChainName="vendor")
    container = Container("/run/netns/none")
    result = multus.add(conf, container).result
    assert [each["name"] for each in result["interfaces"]] == ["eth0"]
    multus.delete(conf, container).require()
    assert multus.bin.commands() == [
        "ADD lan eth0",
        "ADD step net1",
        "DEL step net1",
        "DEL lan eth0",
    ]


def test_del_of_what_the_go_multus_attached_has_its_result(multus: Multus) -> None:
    multus.bin.stand_in("lan")
    container = Container("/run/netns/none")
    config = {"cniVersion": "1.0.0", "name": "cluster", "type": "lan"}
    text = b64encode(json.dumps(config).encode()).decode()
    record = Path(multus.cni_dir, container.id)
    record.parent.mkdir(mode=0o700)
    written(record, [{"Conf": config, "Name": "cluster", "Bytes": text}])
    kept = {"kind": "cniCacheV1", "containerId": container.id, "networkName": "cluster"}
    result = {"cniVersion": "1.0.0", "ips": [{"address": "192.0.2.7/24"}]}
    path = record.parent / "results" / f"cluster-{container.id}-eth0"
    written(path, {**kept, "ifName": "eth0", "config": text, "result": result})
    multus.delete(multus.conf({"type": "lan"}), container).require()
    (call,) = multus.bin.calls
    assert (call.command, call.conf["prevResult"]["ips"]) == ("DEL", [{"address": "192.0.2.7/24"}])
    assert multus.records() == []
