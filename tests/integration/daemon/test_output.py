"""Output of the daemon, or of a process for one call: metrics, log lines, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import time
from statistics import median

import pytest
from attrs import evolve
from waiting import becomes

from integration.daemon.family import threads
from integration.daemon.place import Place
from multus.testing.netns import Netns
from multus.testing.runtime import Container

# --- The metrics' port ----------------------------------------------------------------------------

#: Opens 200 connections a second for some seconds, and uses them as its mode says.
_FLOOD = """
import socket, sys, time
port, seconds, mode, held = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], []
end, next_one = time.monotonic() + seconds, time.monotonic()
while time.monotonic() < end:
    s = socket.socket(); s.setblocking(False)
    if mode == "unread":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    try: s.connect(("127.0.0.1", port))
    except BlockingIOError: pass
    held.append(s)
    for each in held[-100:] if mode != "silent" else ():
        try: each.send(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" if mode == "unread" else b"G")
        except OSError: pass
    if len(held) > 800: held.pop(0).close()
    next_one += 0.005
    time.sleep(max(0, next_one - time.monotonic()))
"""
_SCRAPE = """
import http.client, sys
c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
c.request(sys.argv[2], "/"); r = c.getresponse()
sys.stdout.buffer.write(b"%d\\n" % r.status + r.read())
"""
PORT = 19098


@pytest.mark.parametrize("more_settings", [{"metricsPort": PORT}])
@pytest.mark.parametrize("mode", ["silent", "drip", "unread"])
def test_clients_of_the_metrics_port_cost_little_and_delay_no_call(
    place: Place, cni_pod: Netns, mode: str
) -> None:
    place.start()
    python = ["/usr/bin/python3", "-I", "-c"]
    argv = place.daemon.node.command(
        ["setpriv", "--reuid=65534", "--clear-groups", *python, _FLOOD, str(PORT), "3", mode]
    )
    alone = seconds_of_calls(place, cni_pod, 5)
    before = threads(place.daemon.pid)
    flood = subprocess.Popen(argv)
    try:
        beside: list[float] = []
        while flood.poll() is None:
            beside += seconds_of_calls(place, cni_pod, 1)
            assert threads(place.daemon.pid) <= before
            assert len(os.listdir(f"/proc/{place.daemon.pid}/fd")) < 100
    finally:
        flood.kill()
        flood.wait()
    assert median(beside) < 1 + 5 * median(alone)
    for method, expected in (("GET", "multus_server_calls"), ("HEAD", "")):
        shown = place.daemon.node.run(*python, _SCRAPE, str(PORT), method)
        status, _, text = shown.partition("\n")
        assert status == "200"
        assert expected in text
    becomes(lambda: threads(place.daemon.pid), before)


def seconds_of_calls(place: Place, netns: Netns, calls: int) -> list[float]:
    """The time of an ADD and its DEL, in seconds."""
    found = []
    for _ in range(calls):
        began = time.monotonic()
        place.serves(netns)
        found.append(time.monotonic() - began)
    return found


# --- What plugins print ---------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["hook", "add", "observer"])
def test_what_a_plugin_and_its_child_print_reaches_no_answer(
    place: Place, cni_pod: Netns, at: str
) -> None:
    place.start()
    conf, container = place.conf(deed="write", at=at), Container(cni_pod.path)
    answer = place.multus.add(conf, container).require()
    assert set(answer.json) >= {"cniVersion", "interfaces"}
    assert place.multus.delete(conf, container).require().stdout == b""
    assert b"hostile" not in answer.stderr
    assert "hostile bytes" in place.daemon.stderr
    assert "hostile child" in place.daemon.stderr


@pytest.mark.parametrize("at", ["hook", "add", "delete", "observer"])
def test_what_a_plugin_prints_reaches_no_answer_without_a_daemon(
    place: Place, cni_pod: Netns, cni_program: tuple[str, ...], at: str
) -> None:
    environ = {"PYTHONPATH": str(place.folder / "site"), "MULTUS_STANDALONE": "1"}
    alone = evolve(
        place.multus, runtime=evolve(place.multus.runtime, program=cni_program, environ=environ)
    )
    conf, container = place.conf(deed="write", at=at), Container(cni_pod.path)
    added = alone.add(conf, container).require()
    assert set(added.json) >= {"cniVersion", "interfaces"}
    deleted = alone.delete(conf, container).require()
    assert deleted.stdout == b""
    said = added.stderr + deleted.stderr
    for words in (b"hostile words", b"hostile bytes", b"hostile child"):
        assert words in said


def test_times_and_log_lines_of_a_worker_reach_the_supervisor(place: Place, cni_pod: Netns) -> None:
    place.start()
    place.serves(cni_pod)
    metric = place.daemon.metric
    for verb in ("ADD", "DEL"):
        line = f'multus_delegate_seconds_count{{type="ptp",verb="{verb}"}}'
        becomes(lambda: metric(line), 1)  # noqa: B023  called at once
    becomes(lambda: metric('multus_stage_seconds_count{stage="resolve",verb="ADD"}'), 1)
    lines = [json.loads(line) for line in place.daemon.log.splitlines()]
    (added,) = [line for line in lines if line["msg"] == "ADD" and "delegate" in line]
    assert added["network"] == "p62"
