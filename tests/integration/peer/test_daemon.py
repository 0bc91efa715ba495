"""What the daemon's metrics port shows, compared with the Go Multus's."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing

import pytest
from waiting import PATIENCE, eventually

from multus.daemon.metrics import Metrics
from multus.daemon.metricspage import MetricsPage
from multus.log import Log


@pytest.fixture
def port() -> Iterator[int]:
    metrics = Metrics()
    metrics.count("/cni", "ADD", "0")
    page = MetricsPage("127.0.0.1", 0, metrics.text, Log.from_conf({}))
    page.start()
    yield eventually(lambda: page.bound)
    page.close()


def shown(port: int, path: str) -> set[str]:
    """The names of the metrics at *path*."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as client:
        client.request("GET", path)
        text = client.getresponse().read().decode()
    return {line.partition("{")[0].split()[0] for line in text.splitlines() if line[:1] != "#"}


def test_the_metrics_port_has_no_profiles(port: int) -> None:
    assert "multus_server_request_total" in shown(port, "/metrics")
    assert shown(port, "/debug/pprof/profile") == shown(port, "/metrics")


def test_metrics_of_the_process_have_their_usual_names(port: int) -> None:
    names = shown(port, "/metrics")
    usual = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"}
    assert usual <= names
    assert "python_info" in names
    assert not any(each.startswith("go_") for each in names)
