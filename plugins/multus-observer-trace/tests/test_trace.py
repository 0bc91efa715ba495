from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
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
    attached = entry["delegates"]
    assert [(each["ifname"], each["types"], each["invokers"][:1]) for each in attached] == [
        ("eth0", "lan", ["exec"]),
        ("net0", "wan", ["exec"]),
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


def test_before_the_first_request_there_is_no_entry(tmp_path: Path) -> None:
    conf = {"cniDir": str(tmp_path / "state")}
    shown = trace("x", conf=conf)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert f"there is no folder {tmp_path}/state" in shown.stderr
    (tmp_path / "state").mkdir()
    shown = trace("x", conf=conf)
    assert (shown.returncode, shown.stderr) == (1, "")
    assert shown.stdout.startswith("the trace has no entry of x: ")


def test_nothing_of_it_is_among_the_state(
    cni_runtime: Runtime, cni_pod: Netns, conf: dict[str, Any]
) -> None:
    container = Container(cni_pod.path)
    cni_runtime.add(conf, container).require()
    cni_runtime.delete(conf, container).require()
    assert [name for name in os.listdir(conf["cniDir"]) if "trace" in name] == []


def test_a_failed_add_shows_what_was_attached_before_and_what_failed(
    cni_runtime: Runtime, cni_pod: Netns, cni_bin: BinDir, conf: dict[str, Any]
) -> None:
    cni_bin.stand_in("wan", ADD=Reply.error(7, "no uplink"))
    assert cni_runtime.add(conf, Container(cni_pod.path)).status == 1
    entry = list(tracefile.read(conf["cniDir"]))[-1]
    assert [(each["ifname"], "error" in each) for each in entry["delegates"]] == [
        ("eth0", False),
        ("net0", True),
    ]
    assert all(each["seconds"] > 0 for each in entry["delegates"])
    shown = trace("--last", "1", conf=conf).stdout
    assert re.search(r"eth0 +\d+\.\d ms  lan by exec, l$", shown, re.MULTILINE), shown
    assert re.search(r"net0 +\d+\.\d ms  wan\S* failed, w$", shown, re.MULTILINE), shown


def entry(pod: str, age: float = 0.0, **more: Any) -> dict[str, Any]:
    stages = {"invoke": 0.1}
    made = {"time": time.time() - age, "command": "ADD", "container": "c1", "ifname": "eth0"}
    return {**made, "pod": pod, "seconds": 0.2, "stages": stages, "delegates": [], **more}


def told(conf: dict[str, Any], *arguments: str) -> list[str]:
    """The pods of the entries that the command prints."""
    lines = trace(*arguments, "--json", conf=conf).stdout.splitlines()
    return [json.loads(line)["pod"] for line in lines]


def test_a_pod_needs_no_namespace_when_its_name_is_unique(conf: dict[str, Any]) -> None:
    for pod in ("shop/web", "shop/db", "lab/db"):
        tracefile.append(conf["cniDir"], entry(pod))
    assert told(conf, "web") == ["shop/web"]
    done = trace("db", conf=conf)
    assert done.returncode == 1
    assert "several pods are called 'db': name one of lab/db, shop/db" in done.stderr


def test_since_leaves_out_what_is_older(conf: dict[str, Any]) -> None:
    for pod, age in (("a/old", 700.0), ("a/new", 30.0)):
        tracefile.append(conf["cniDir"], entry(pod, age))
    assert told(conf, "--since", "10m") == ["a/new"]
    assert told(conf, "--since", "1h") == ["a/old", "a/new"]
    assert trace("--since", "soon", conf=conf).returncode == 2


def test_following_goes_on_with_what_is_written_then_and_in_a_new_file(
    conf: dict[str, Any],
) -> None:
    folder = conf["cniDir"]
    tracefile.append(folder, entry("a/one"))
    argv = [sys.executable, "-m", "multus", "trace", "-f", "--json", "--cni-dir", folder]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["pod"] == "a/one"
        tracefile.append(folder, entry("a/two"))
        tracefile.append(folder, entry("a/three"), limit=1)
        assert json.loads(process.stdout.readline())["pod"] == "a/two"
        assert json.loads(process.stdout.readline())["pod"] == "a/three"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_events_are_one_line_each(conf: dict[str, Any]) -> None:
    folder = conf["cniDir"]
    failed = {"code": 7, "msg": "no uplink"}
    delegate = {"ifname": "net1", "network": "shop/storage", "types": "ptp"}
    tracefile.append(folder, entry("shop/web", delegates=[delegate]))
    tracefile.append(folder, entry("shop/db", error=failed))
    tracefile.append(folder, {**entry("shop/db"), "delegate": delegate})
    argv = [sys.executable, "-m", "multus", "events", "--cni-dir", folder]

    def printed(*more: str) -> list[str]:
        done = subprocess.run([*argv, *more], capture_output=True, text=True, check=False)
        return done.stdout.splitlines()

    lines = printed()
    assert [line.split()[2:] for line in lines] == [
        ["ADD", "shop/web", "200.0", "ms", "shop/storage"],
        ["ADD", "shop/db", "200.0", "ms", "failed", "[code", "7]", "no", "uplink"],
    ]
    assert printed("--failed") == lines[1:]
    assert printed("--network", "storage") == lines[:1]
    none = "the trace has no DEL request: there was no request, or it was too long ago"
    assert printed("--command", "del") == [none]
