"""The plugins that the pages show conform, and attach networks with real delegates."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from repository import ROOT

from integration.authors.given import RANGE, installed
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Container, Runtime

_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@frozen
class Shown:
    """A source that a page shows, and the keys of a configuration with which it selects.

    ``keys`` are those that it owns.
    """

    page: str
    hook: str
    keys: Sequence[str]
    conf: dict[str, Any]

    @property
    def name(self) -> str:
        """The name that the page gives it."""
        return "source-inventory"

    @property
    def text(self) -> str:
        """The first block of the page that implements its hook."""
        blocks = _BLOCK.findall((ROOT / self.page).read_text())
        return str(next(each for each in blocks if f"def {self.hook}(" in each))

    def __str__(self) -> str:
        return f"{self.page}:{self.hook}"


#: Which networks the sources of names are asked for: a file in ``confDir`` has them.
_NAMED = {"extraNetworks": ["storage", "backup"]}
SOURCES = (
    Shown("README.md", "multus_select", ("extraNetworks",), _NAMED),
    Shown("docs/hooks.md", "multus_select", ("extraNetworks",), _NAMED),
    Shown("docs/tutorial.md", "multus_select", ("extraNetworks",), _NAMED),
    Shown("docs/hooks.md", "multus_resolve", (), {"clusterNetwork": "storage"}),
)


@pytest.fixture(params=SOURCES, ids=str)
def shown(request: pytest.FixtureRequest, tmp_path: Path) -> Shown:
    """A source, with a folder of networks for the names that it selects."""
    source: Shown = request.param
    return evolve(source, conf={**source.conf, "confDir": _networks(tmp_path, "storage", "backup")})


def _networks(folder: Path, *names: str) -> str:
    """A ``confDir`` with a network of each name."""
    place = folder / "net.d"
    place.mkdir()
    for name in names:
        config = {"cniVersion": "1.0.0", "name": name, "type": "macvlan", "master": "bond1"}
        (place / f"{name}.conf").write_text(json.dumps(config))
    return str(place)


def test_a_source_of_the_pages_conforms(shown: Shown, tmp_path: Path) -> None:
    path = installed(tmp_path, shown.name, shown.text, shown.keys, RANGE)
    sample = tmp_path / "sample.json"
    sample.write_text(json.dumps({"conf": shown.conf}))
    argv = [sys.executable, "-m", "multus", "conformance", shown.name, "--sample", str(sample)]
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": path}
    done = subprocess.run(argv, capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_source_of_the_pages_attaches(
    shown: Shown,
    cni_node: Node,
    cni_pod: Netns,
    cni_container: Container,
    cni_bin: BinDir,
    cni_runtime: Runtime,
    tmp_path: Path,
) -> None:
    cni_bin.real("macvlan")
    cni_node.bridge("bond1", "192.0.2.1/24")
    path = installed(tmp_path, shown.name, shown.text, shown.keys, RANGE)
    runtime = evolve(cni_runtime, environ={**cni_runtime.environ, "PYTHONPATH": path})
    conf = {
        "cniVersion": "1.0.0",
        "name": "node",
        "type": "multus",
        "cniDir": str(tmp_path / "state"),
        "binDir": cni_bin.path,
        **shown.conf,
    }
    before = cni_node.state()
    names = ["eth0", "net1"][: len(shown.conf.get("extraNetworks", ["storage"]))]
    result = runtime.add(conf, cni_container).result
    assert [each["name"] for each in result["interfaces"]] == names[:1]
    assert sorted(cni_pod.links()) == names
    runtime.delete(conf, cni_container, result).require()
    assert cni_pod.links() == {}
    assert before.difference(cni_node.state()) == []


_DELEGATING = """

from multus import hookimpl

@hookimpl
def multus_invoker(plugin):
    return Rack() if plugin.type == "rack" else None
"""


def test_the_plugin_of_the_page_that_delegates_attaches(
    cni_node: Node, cni_pod: Netns, cni_container: Container, cni_runtime: Runtime, tmp_path: Path
) -> None:
    blocks = _BLOCK.findall((ROOT / "docs" / "inprocess.md").read_text())
    text = next(each for each in blocks if "Delegating" in each) + _DELEGATING
    path = installed(tmp_path, "invoker-rack", text, (), RANGE)
    runtime = evolve(cni_runtime, environ={**cni_runtime.environ, "PYTHONPATH": path})
    pool = {"type": "host-local", "subnet": "10.9.0.0/24", "dataDir": str(tmp_path / "networks")}
    conf = {
        "cniVersion": "1.0.0",
        "name": "node",
        "type": "multus",
        "cniDir": str(tmp_path / "state"),
        "delegates": [{"type": "rack", "ipam": pool}],
    }
    before = cni_node.state()
    result = runtime.add(conf, cni_container).result
    assert cni_pod.links()["eth0"].kind == "macvlan"
    runtime.check(conf, cni_container, result).require()
    runtime.delete(conf, cni_container, result).require()
    assert cni_pod.links() == {}
    assert before.difference(cni_node.state()) == []
