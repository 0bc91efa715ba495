"""A plugin that modifies its arguments fails its own request, and does not affect others."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from attrs import evolve

from integration.blackbox.program import refused
from integration.daemon.place import Place
from multus.testing.netns import Netns
from multus.testing.runtime import Container

#: It does nothing once the file ``spare`` exists.
GREEDY = """
import os
from multus import hookimpl

@hookimpl(tryfirst=True)
def multus_select(request, conf):
    if os.path.exists({spare!r}):
        return
    if request.args.get("WHAT") == "args":
        request.args["K8S_POD_NAME"] = "another"
    elif request.args.get("WHAT") == "nested":
        conf.raw["delegates"][0]["ipam"]["subnet"] = "10.99.0.0/24"
    else:
        conf.raw["delegates"].append(conf.raw["delegates"][0])
"""


def install(site: Path, spare: Path) -> None:
    metadata = site / "multus_greedy-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: multus-greedy\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[multus]\ngreedy = its_greedy\n")
    (site / "its_greedy.py").write_text(GREEDY.format(spare=str(spare)))


@pytest.fixture(params=["daemon", "standalone"])
def way(request: pytest.FixtureRequest, place: Place, tmp_path: Path) -> Place:
    """A daemon, or a process for each call; the plugin is installed in both."""
    install(tmp_path / "site", tmp_path / "spare")
    if request.param == "daemon":
        place.start()
        return place
    program = os.path.join(os.path.dirname(sys.executable), "multus")
    environ = {"PYTHONPATH": str(tmp_path / "site"), "MULTUS_STANDALONE": "1"}
    runtime = place.multus.runtime
    runtime = evolve(runtime, program=(program,), environ={**runtime.environ, **environ})
    return evolve(place, multus=evolve(place.multus, runtime=runtime))


def test_the_error_names_it_and_the_next_pod_gets_its_own_networks(
    way: Place, cni_pod: Netns, tmp_path: Path
) -> None:
    conf = {**way.quiet, "standalone": True}
    for what in ("list", "nested", "args"):
        container = Container(cni_pod.path, args=f"WHAT={what}")
        named = refused(way.multus.add(conf, container), 999, "plugin 'greedy'", "read-only")
        assert "hook 'multus_select'" in named["msg"]
    (tmp_path / "spare").touch()
    container = Container(cni_pod.path)
    result = way.multus.add(conf, container).require().result
    assert [each["name"] for each in result["interfaces"] if each.get("sandbox")] == ["eth0"]
    assert [each["address"][:5] for each in result["ips"]] == ["10.62"]
    way.multus.delete(conf, container).require()
