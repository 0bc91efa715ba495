"""What the daemon's log says by default: what it is, what it has done, and what has failed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from waiting import becomes

from integration.daemon.place import Place
from multus import __version__
from multus.testing.netns import Netns
from multus.testing.runtime import Container

#: Python runs it at the start of each process of the daemon.
_MINUTE = "import multus.daemon.minutes as m; m._MINUTE = 0.3"


def lines(place: Place, message: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in place.daemon.log.splitlines()]
    return [each for each in found if each["msg"] == message]


@pytest.fixture
def more_settings() -> dict[str, Any]:
    return {"logLevel": "error", "metricsPort": 19101, "metricsAddress": "pod"}


@pytest.fixture
def quick_minutes(place: Place) -> None:
    (place.folder / "site" / "sitecustomize.py").write_text(_MINUTE)


def test_it_says_what_it_is_and_what_it_serves(place: Place) -> None:
    place.start(MULTUS_POD_IP="127.0.0.1", MULTUS_NODE_NAME="n7")
    (said,) = lines(place, "serving")
    assert (said["level"], said["version"]) == ("notice", __version__)
    assert (said["node"], said["socket"]) == ("n7", str(place.daemon.socket))
    assert said["metrics"] == "http://127.0.0.1:19101/metrics"
    assert said["kubernetes"] == "that of each configuration"
    place.daemon.stop()
    assert len(lines(place, "stopped")) == 1


def test_without_the_pods_address_it_serves_calls_and_says_that_it_shows_no_metrics(
    place: Place, cni_pod: Netns
) -> None:
    place.start()
    place.serves(cni_pod)
    (said,) = [json.loads(each) for each in place.daemon.log.splitlines() if "no metrics" in each]
    assert (said["level"], "status.podIP" in said["fix"]) == ("error", True)
    assert lines(place, "serving")[0]["metrics"] == "off"


@pytest.mark.usefixtures("quick_minutes")
def test_it_says_what_it_has_done_and_what_failed(place: Place, cni_pod: Netns) -> None:
    place.start(MULTUS_POD_IP="127.0.0.1")
    place.serves(cni_pod)
    wrong = place.multus.conf({"type": "ptp", "name": "w", "ipam": {"type": "host-local"}})
    place.multus.add(wrong, Container(cni_pod.path)).error  # noqa: B018  it has one
    becomes(
        lambda: [
            sum(each.get(key, {}).get(verb, 0) for each in lines(place, "the last minute"))
            for key, verb in (("calls", "ADD"), ("calls", "DEL"), ("failed", "ADD"))
        ],
        [2, 1, 1],
    )
    (failed,) = lines(place, "ADD")
    assert failed["level"] == "error"
