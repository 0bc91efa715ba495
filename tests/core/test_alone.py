"""The core without any plugin or extra: it says what is missing. `tox -e core` runs this."""

from __future__ import annotations

import importlib
import json
import pkgutil
from importlib.metadata import entry_points
from typing import Any

import pytest

import multus
from multus.testing.runtime import Container, Runtime, installed_program

if entry_points(group="multus"):
    pytest.skip("plugins are installed: tox -e core has none", allow_module_level=True)

CONF = {"cniVersion": "1.1.0", "name": "alone", "type": "multus", "delegates": [{"type": "fake"}]}
#: What these need is an extra, or pytest.
NEEDS_MORE = ("multus.certificate", "multus.cli", "multus.daemon", "multus.kube", "multus.testing")


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(installed_program(), "/nowhere")


@pytest.fixture
def conf(tmp_path: Any) -> dict[str, Any]:
    return {**CONF, "cniDir": str(tmp_path / "multus")}


def test_every_module_of_the_core_can_be_imported() -> None:
    names = [each.name for each in pkgutil.walk_packages(multus.__path__, "multus.")]
    core = [name for name in names if not name.startswith(NEEDS_MORE)]
    assert len(core) > 20
    for name in core:
        importlib.import_module(name)


def test_version_needs_no_plugin(runtime: Runtime) -> None:
    assert "1.1.0" in runtime.version().result["supportedVersions"]


@pytest.mark.parametrize("command", ["ADD", "STATUS"])
def test_what_to_install_is_said(runtime: Runtime, conf: dict[str, Any], command: str) -> None:
    answer = runtime.call(command, conf, Container("/run/netns/none").environ())
    assert answer.status == 1
    assert "multus-source-conffile" in answer.error["msg"]


def test_del_succeeds_all_the_same(runtime: Runtime, conf: dict[str, Any]) -> None:
    answer = runtime.delete(conf, Container("/run/netns/none"))
    assert (answer.status, answer.stdout) == (0, b"")


def test_the_command_line_lists_no_plugin(runtime: Runtime) -> None:
    answer = runtime.start(runtime.environ, b"", "plugins", "--json").require()
    assert json.loads(answer.stdout)["plugins"] == []
