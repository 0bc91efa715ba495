from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from multus.log import trace as tracefile
from multus.testing.delegates import BinDir, Reply
from multus.testing.netns import Netns
from multus.testing.runtime import Container, Runtime

Pods = Callable[[], Netns]


@pytest.fixture
def conf(cni_bin: BinDir, tmp_path: Path) -> dict[str, Any]:
    """A configuration of two networks, for a program that can attach them."""
    for needed in ("multus_source_conffile", "multus_invoker_exec", "multus_merger_primary"):
        pytest.importorskip(needed, reason="an ADD needs a source, an invoker and a merger")
    cni_bin.stand_in("lan").stand_in("wan")
    return {
        "cniVersion": "1.0.0",
        "name": "traced",
        "type": "multus",
        "binDir": cni_bin.path,
        "cniDir": str(tmp_path / "state"),
        "delegates": [{"name": "l", "type": "lan"}, {"name": "w", "type": "wan"}],
    }


def trace(*arguments: str, conf: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "multus", "trace", "--cni-dir", conf["cniDir"], *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_an_add_is_written_down_with_its_stages_and_delegates(
    cni_runtime: Runtime, cni_pod: Netns, conf: dict[str, Any]
) -> None:
    args = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web"
    container = Container(cni_pod.path, args=args)
    cni_runtime.add(conf, container).require()
    (entry,) = tracefile.read(conf["cniDir"])
    assert (entry["command"], entry["container"], entry["pod"]) == ("ADD", container.id, "shop/web")
    assert list(entry["stages"])[:2] == ["resolve", "order"]
    assert {"invoke", "merge", "journal"} <= set(entry["stages"])
    assert [(each["ifname"], each["types"], each["invokers"]) for each in entry["delegates"]] == [
        ("eth0", "lan", ["exec"]),
        ("net0", "wan", ["exec", "default-route"]),
    ]
    assert all(each["seconds"] > 0 for each in entry["delegates"])
    assert os.stat(conf["cniDir"] + tracefile.NAME).st_mode & 0o777 == 0o600


#: A source of nothing that takes its time.
SLOW = """
import time
from multus import hookimpl
from multus.api.progress import step

@hookimpl
def multus_select(request, conf):
    time.sleep(0.05)
    with step("the switch", 5.0, waits=True):
        time.sleep(0.1)
"""


def test_each_plugins_time_is_written_down_and_shown(
    cni_runtime: Runtime, cni_pod: Netns, conf: dict[str, Any], tmp_path: Path
) -> None:
    site = tmp_path / "site"
    info = site / "multus_source_slow-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "its_slow.py").write_text(SLOW)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: multus-source-slow\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text("[multus]\nsource-slow = its_slow\n")
    environ = {**cni_runtime.environ, "PYTHONPATH": str(site)}
    evolve(cni_runtime, environ=environ).add(conf, Container(cni_pod.path)).require()
    (entry,) = tracefile.read(conf["cniDir"])
    (slow,) = [each for each in entry["plugins"] if each["plugin"] == "source-slow"]
    assert slow["task"] == "multus_select"
    assert slow["seconds"] >= 0.15 > slow["waited"] >= 0.1
    assert ("exec", "ADD") in [(each["plugin"], each["task"]) for each in entry["plugins"]]
    shown = trace(conf=conf).stdout
    assert re.search(r"ms  multus_select of source-slow, 1\d\d\.\d ms of them waiting", shown), (
        shown
    )


def test_what_was_undone_and_why_is_written_down(
    cni_runtime: Runtime, cni_pod: Netns, cni_bin: BinDir, conf: dict[str, Any]
) -> None:
    cni_bin.stand_in("wan", ADD=Reply.error(7, "no uplink"))
    answer = cni_runtime.add(conf, Container(cni_pod.path))
    assert answer.status == 1
    entries = list(tracefile.read(conf["cniDir"]))
    undone = [each["delegate"]["ifname"] for each in entries if each.get("undone")]
    assert undone == ["net0", "eth0"]
    assert entries[-1]["error"]["code"] == 7
    assert "no uplink" in entries[-1]["error"]["msg"]


def test_no_configuration_and_no_result_is_in_it(
    cni_runtime: Runtime, cni_pod: Netns, conf: dict[str, Any]
) -> None:
    conf["delegates"][0]["password"] = "hunter2"
    cni_runtime.add(conf, Container(cni_pod.path)).require()
    text = Path(conf["cniDir"] + tracefile.NAME).read_text()
    assert "hunter2" not in text


def test_a_trace_that_cannot_be_written_fails_no_request(
    cni_runtime: Runtime, cni_pod: Netns, conf: dict[str, Any]
) -> None:
    Path(conf["cniDir"] + tracefile.NAME).symlink_to("/dev/full")
    answer = cni_runtime.add(conf, Container(cni_pod.path)).require()
    assert b"observer-trace" in answer.stderr


def test_the_file_is_bounded_and_the_newest_entries_are_kept(tmp_path: Path) -> None:
    for number in range(2000):
        tracefile.append(str(tmp_path / "t"), {"number": number, "fill": "x" * 100}, limit=20_000)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) < 20_000 + 200
    numbers = [each["number"] for each in tracefile.read(str(tmp_path / "t"))]
    assert numbers == list(range(numbers[0], 2000))


def test_writers_at_the_same_time_lose_no_line_while_there_is_room(tmp_path: Path) -> None:
    def write(worker: int) -> None:
        for number in range(100):
            tracefile.append(str(tmp_path / "t"), {"who": [worker, number]}, limit=100_000)

    workers = [threading.Thread(target=write, args=(each,)) for each in range(8)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert len({tuple(each["who"]) for each in tracefile.read(str(tmp_path / "t"))}) == 800


def test_a_torn_line_hides_no_other(tmp_path: Path) -> None:
    tracefile.append(str(tmp_path / "t"), {"a": 1})
    with open(tmp_path / f"t{tracefile.NAME}", "a") as file:
        file.write('{"b": \n')
    tracefile.append(str(tmp_path / "t"), {"c": 1})
    assert list(tracefile.read(str(tmp_path / "t"))) == [{"a": 1}, {"c": 1}]


def test_the_command_shows_a_pods_requests_with_times(
    cni_runtime: Runtime, cni_pods: Pods, cni_bin: BinDir, conf: dict[str, Any]
) -> None:
    web = Container(cni_pods().path, args="K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web")
    other = Container(cni_pods().path)
    cni_runtime.add(conf, web).require()
    cni_runtime.add(conf, other).require()
    cni_runtime.delete(conf, web).require()
    shown = trace("shop/web", conf=conf)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert "ADD   shop/web, eth0: " in lines[0]
    assert any(line.startswith("    invoke") and line.endswith(" ms") for line in lines)
    assert any("lan by exec, l" in line for line in lines)
    assert any("removed eth0 (lan, l)" in line for line in lines)
    assert other.id[:13] not in shown.stdout
    by_id = trace(other.id[:8], "--json", conf=conf)
    assert [json.loads(line)["container"] for line in by_id.stdout.splitlines()] == [other.id]
    assert trace("--failed", conf=conf).returncode == 1


def test_without_a_trace_the_plugin_is_named(tmp_path: Path) -> None:
    conf = {"cniDir": str(tmp_path / "state")}
    shown = trace("x", conf=conf)
    assert shown.returncode == 1
    assert "install multus-observer-trace" in shown.stderr


def test_nothing_of_it_is_among_the_state(
    cni_runtime: Runtime, cni_pod: Netns, conf: dict[str, Any]
) -> None:
    container = Container(cni_pod.path)
    cni_runtime.add(conf, container).require()
    cni_runtime.delete(conf, container).require()
    assert [name for name in os.listdir(conf["cniDir"]) if "trace" in name] == []
