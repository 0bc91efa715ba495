"""The core without any plugin or extra: it says what is missing. `tox -e core` runs this."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import multus
from multus import cli
from multus.testing.runtime import Container, Runtime, installed_program

if entry_points(group="multus"):
    pytest.skip("plugins are installed: tox -e core has none", allow_module_level=True)

CONF = {"cniVersion": "1.1.0", "name": "alone", "type": "multus", "delegates": [{"type": "fake"}]}
#: What these need is an extra, or pytest.
NEEDS_MORE = (
    *(f"multus.{name}" for name in ("certificate", "cli", "daemon", "kube", "testing")),
    *(f"multus.picture.{name}" for name in ("cluster.process", "process", "serving")),
    "multus.serving.clients",
)


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(installed_program(), "/nowhere")


@pytest.fixture
def conf(tmp_path: Any) -> dict[str, Any]:
    # An engine, which ends for lack of its libraries, is still there when the test is over.
    return {**CONF, "cniDir": str(tmp_path / "multus"), "warmSeconds": 0}


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


#: The least arguments of commands that work, and of those that ask for an extra. NODE is an empty
#: folder, CONF a configuration. A command that is in neither shows its help.
WORKS: dict[str, list[str]] = {
    "attachments": ["--cni-dir", "NODE"],
    "doctor": ["--root", "NODE"],
    "events": ["--cni-dir", "NODE"],
    "gc": ["--dry-run", "--cni-dir", "NODE"],
    "graph": ["--cni-dir", "NODE"],
    "help": [],
    "man": [],
    "plugins": [],
    "status": ["--root", "NODE"],
    "trace": ["--cni-dir", "NODE"],
    "uninstall": ["--net-d", "NODE", "--cni-dir", "NODE"],
    "version": [],
}
LACKS: dict[str, tuple[list[str], str]] = {
    "completion": (["bash"], "'multus[cli]'"),
    "convert": (["-f", "CONF"], "'multus[cli]'"),
    "daemon": ([], "'multus[daemon]'"),
    "demo": ([], "'multus[cli]'"),
    "explain": (["CONF"], "'multus[cli]'"),
    "serve": ([], "'multus[cli]'"),
    "validate": (["CONF"], "'multus[cli]'"),
}


@pytest.mark.parametrize("command", cli.names())
def test_every_command_prints_plain_text_or_what_to_install(command: str, tmp_path: Path) -> None:
    node, conf = tmp_path / "node", tmp_path / "conf.json"
    node.mkdir()
    conf.write_text(json.dumps(CONF))
    needs = LACKS.get(command)
    arguments = needs[0] if needs else WORKS.get(command, ["--help"])
    given = [{"NODE": str(node), "CONF": str(conf)}.get(each, each) for each in arguments]
    status, said = _on_a_terminal([*installed_program(), command, *given])
    assert [each for each in _WRONG if each in said] == [], said
    if needs:
        assert (status != 0, f"pip install {needs[1]}" in said) == (True, True), said
    else:
        assert said.strip(), status


_WRONG = ("\x1b", "Traceback", "internal error")


def _on_a_terminal(command: list[str]) -> tuple[int, str]:
    """The exit status of *command* and what it printed, with a terminal for its output."""
    ours, its = os.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "FORCE_COLOR": "1"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=its, stderr=its, env=environment
    )
    os.close(its)
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError:  # the terminal's last user closed it
        pass
    finally:
        os.close(ours)
    return process.wait(), said.decode().replace("\r\n", "\n")
