"""Every command ends with each of the exit statuses that its help promises, and with no other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import eventually

from integration.cli.conftest import MadeUpNode
from integration.cli.terminal import on_terminal
from multus.cli import names, parser
from multus.cli.commands.doctor.programs import control
from multus.cli.manual import subcommands
from multus.log import trace
from multus.testing.apiserver import ApiServer
from multus.testing.netns import Netns

#: What each command promises.
PROMISED = [
    (name, status)
    for name, command in subcommands(parser()).items()
    for status in command.get_default("statuses")
]
ARGS = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=w"
NAD = "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: lan}\n"
POD = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: w, annotations: "
POD += "{k8s.v1.cni.cncf.io/networks: "


class Case:
    """A node, and the commands on it."""

    def __init__(self, node: MadeUpNode, pods: Callable[[], Netns]) -> None:
        self.node, self.pods = node, pods
        self.conf = node.healthy()
        self.net_d = ("--net-d", node.folder / "net.d")
        self.of_node = (*self.net_d, "--bin-dir", node.bin.path, "--socket", node.folder / "none")
        self.state = ("--cni-dir", node.folder / "state")

    def file(self, name: str, text: str) -> Path:
        return self.node.write(name, text)

    def run(self, *words: str | Path, **environ: str) -> int:
        return self.node.run(*words, environ=environ).returncode

    def attached(self) -> str:
        return self.node.attach(self.conf, self.pods(), id="c1", args=ARGS).id

    def unreadable(self) -> tuple[str | Path, ...]:
        """A folder of records that nobody can read, because it is a file."""
        return ("--cni-dir", self.file("file", ""))

    def signalled(self, number: signal.Signals, *words: str | Path) -> int:
        """The status after a signal, which comes when the command has printed something."""
        argv = self.node.host.command([*self.node.program, *map(str, words)])
        with on_terminal(argv, 120) as terminal:
            terminal.until(r"\S")
            if number == signal.SIGINT:
                terminal.type(b"\x03")
            else:
                os.kill(terminal.process.pid, number)
            return terminal.ended()


def traced(case: Case) -> tuple[str | Path, ...]:
    entry = {"time": 1, "command": "ADD", "container": "c1", "stages": {}, "delegates": []}
    trace.append(str(case.node.folder / "state"), entry)
    return case.state


def with_ranges(case: Case) -> int:
    with ApiServer(netns=case.node.host.path) as api:
        return case.run("ipam", "status", "--kubeconfig", api.write_kubeconfig(case.node.folder))


def leaking(case: Case) -> int:
    """Records that are torn and a folder that others can write to: it cannot be looked at."""
    case.file("state/c1:eth0", "torn")
    (case.node.folder / "state").chmod(0o777)
    return case.run("gc", *case.state)


def broken_plugin(case: Case) -> str:
    folder = case.node.path("site", "broken-1.0.dist-info", "METADATA").parent
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[multus]\nsource-broken = no_such_module\n")
    return str(folder.parent)


def daemon_ended(case: Case) -> int:
    settings = {"cniDir": str(case.node.folder / "state"), "logToStderr": False}
    config = case.node.write("daemon.json", settings)
    socket = case.node.folder / "multus.sock"
    argv = case.node.host.command([*case.node.program, "daemon", "--config", str(config)])
    daemon = subprocess.Popen(argv, env={**os.environ, "MULTUS_SOCKET": str(socket)})
    try:
        eventually(lambda: _is_ready(str(socket)))
        daemon.terminate()
        return daemon.wait(30)
    finally:
        daemon.kill()
        daemon.wait()


def _is_ready(socket: str) -> bool:
    try:
        return control(socket, b"ready")[0] == 0
    except OSError:
        return False


def undoable(case: Case) -> int:
    """An installation whose backup cannot be restored: a folder is in its place."""
    net_d = case.node.folder / "net.d"
    case.file("net.d/10-lan.conflist", json.dumps({"name": "l", "plugins": [{"type": "bridge"}]}))
    (net_d / "00-multus.conf").unlink()
    assert case.run("install", *case.net_d, "--bin-dir", case.node.bin.path) == 0
    (net_d / "00-multus.conflist").unlink()
    (net_d / "00-multus.conflist").mkdir()
    return case.run("uninstall", *case.net_d, *case.state)


def of_checks(command: str) -> dict[tuple[str, int], Callable[[Case], int]]:
    """status and doctor: a node that is well, one without its program, one for an ordinary root."""

    def well(case: Case) -> int:
        stores = ("--addresses", case.node.folder / "networks", *case.state)
        more = ("--settings", case.node.folder / "no", *stores) if command == "doctor" else ()
        return case.run(command, *case.of_node, *more)

    def ill(case: Case) -> int:
        os.unlink(f"{case.node.bin.path}/multus")
        return case.run(command, *case.of_node)

    def unseen(case: Case) -> int:
        case.attached()
        (case.node.folder / "state").chmod(0)
        rights = "-dac_override,-dac_read_search"
        more = ("--settings", case.node.folder / "no") if command == "doctor" else ()
        return case.node.run(command, *case.of_node, *more, rights=rights).returncode

    return {(command, 0): well, (command, 1): ill, (command, 3): unseen}


def of_requests(command: str) -> dict[tuple[str, int], Callable[[Case], int]]:
    def follow(case: Case) -> int:
        return case.signalled(signal.SIGINT, command, "-f", *traced(case))

    return {
        (command, 0): lambda c: c.run(command, *traced(c)),
        (command, 1): lambda c: c.run(command, "nobody", *traced(c)),
        (command, 130): follow,
    }


DRIVES: dict[tuple[str, int], Callable[[Case], int]] = {
    ("apply", 0): lambda c: c.run("apply", c.attached(), *c.state),
    ("apply", 1): lambda c: c.run("apply", "default/nobody", *c.state),
    ("attachments", 0): lambda c: c.run("attachments", *c.state),
    ("attachments", 1): lambda c: c.run("attachments", *c.unreadable()),
    ("attachments", 130): lambda c: c.signalled(signal.SIGINT, "attachments", "-w", *c.state),
    ("completion", 0): lambda c: c.run("completion", "bash"),
    ("completion", 1): lambda c: c.run("completion", "bash", PYTHONPATH=without(c, "shtab")),
    ("conformance", 0): lambda c: c.run("conformance", "merger-primary", "--", "-q"),
    ("conformance", 1): lambda c: c.run("conformance", "no-such-plugin"),
    ("convert", 0): lambda c: c.run("convert", "-f", c.file("n.yaml", NAD)),
    ("convert", 1): lambda c: c.run("convert", "-f", c.file("n.yaml", "{")),
    ("daemon", 0): daemon_ended,
    ("daemon", 1): lambda c: c.run("daemon", "--config", c.file("d.json", "{")),
    ("demo", 0): lambda c: c.run("demo"),
    ("demo", 1): lambda c: c.node.run("demo", rights="-sys_admin").returncode,
    ("explain", 0): lambda c: c.run("explain", "-c", c.node.folder / "net.d/00-multus.conf"),
    ("explain", 1): lambda c: c.run("explain", c.file("n.yaml", NAD + POD + "A_}}\n")),
    ("explain", 3): lambda c: c.run("explain", c.file("n.yaml", NAD + POD + "other}}\n")),
    ("gc", 0): lambda c: c.run("gc", *c.state),
    ("gc", 1): leaking,
    ("graph", 0): lambda c: c.run("graph", *c.state),
    ("graph", 1): lambda c: c.run("graph", *c.unreadable()),
    ("help", 0): lambda c: c.run("help", "status"),
    ("help", 2): lambda c: c.run("help", "stats"),
    ("install", 0): lambda c: c.run("install", "--dry-run", *c.net_d, "--bin-dir", c.node.bin.path),
    ("install", 1): lambda c: c.run("install", "--net-d", c.node.folder / "none"),
    ("ipam", 0): with_ranges,
    ("ipam", 1): lambda c: c.run("ipam", "status", *c.net_d),
    ("man", 0): lambda c: c.run("man"),
    ("new-plugin", 0): lambda c: c.run("new-plugin", "source", "x", "--into", c.node.folder),
    ("new-plugin", 1): lambda c: c.run("new-plugin", "source", "X Y", "--into", c.node.folder),
    ("plugins", 0): lambda c: c.run("plugins"),
    ("plugins", 1): lambda c: c.run("plugins", PYTHONPATH=broken_plugin(c)),
    ("serve", 0): lambda c: c.signalled(signal.SIGTERM, "serve", "--address", "127.0.0.1:0"),
    ("serve", 1): lambda c: c.run("serve", "--address", "192.0.2.1:1", *c.state),
    ("top", 0): lambda c: c.run("top", "--once", *c.of_node),
    ("top", 129): lambda c: c.signalled(signal.SIGHUP, "top", *c.of_node),
    ("top", 130): lambda c: c.signalled(signal.SIGINT, "top", *c.of_node),
    ("top", 143): lambda c: c.signalled(signal.SIGTERM, "top", *c.of_node),
    ("uninstall", 0): lambda c: c.run("uninstall", *c.net_d, *c.state),
    ("uninstall", 1): undoable,
    ("validate", 0): lambda c: c.run("validate", "--off-node", c.file("n.yaml", NAD)),
    ("validate", 1): lambda c: c.run("validate", c.file("n.txt", "")),
    ("validate", 3): lambda c: c.run("validate", c.file("n.yaml", POD.lstrip("-\n") + "other}}\n")),
    ("version", 0): lambda c: c.run("version"),
    **of_checks("status"),
    **of_checks("doctor"),
    **of_requests("trace"),
    **of_requests("events"),
}

#: Any error ends these with 1: their output cannot be written.
DRIVES |= {
    (name, 1): lambda c, name=name: full(c, name)  # type: ignore[misc]
    for name in ("help", "man", "top", "version")
}


def full(case: Case, *words: str) -> int:
    with open("/dev/full", "w") as nowhere:
        argv = case.node.host.command([*case.node.program, *words])
        return subprocess.run(argv, stdout=nowhere, stderr=subprocess.DEVNULL).returncode


def without(case: Case, module: str) -> str:
    """A folder for PYTHONPATH with a module that cannot be imported."""
    raising = f"raise ModuleNotFoundError(name={module!r})\n"
    return str(case.file(f"lacking/{module}.py", raising).parent)


@pytest.fixture
def case(made_up: MadeUpNode, cni_pods: Callable[[], Netns]) -> Iterator[Case]:
    yield Case(made_up, cni_pods)


def test_every_promised_status_has_a_drive() -> None:
    driven = {*DRIVES, *((name, 2) for name in names())}
    assert sorted(set(PROMISED) - driven) == []
    assert sorted(driven - set(PROMISED)) == []


@pytest.mark.parametrize(("command", "status"), sorted(DRIVES))
def test_a_command_ends_with_the_status_that_its_help_promises(
    case: Case, command: str, status: int
) -> None:
    assert DRIVES[command, status](case) == status


def test_a_wrong_command_line_is_2_for_every_command() -> None:
    for name in names():
        argv = [sys.executable, "-c", "import sys, multus.cli as c; sys.exit(c.main(sys.argv[1:]))"]
        assert (name, 2) in PROMISED
        done = subprocess.run([*argv, name, "--no-such-option"], capture_output=True, text=True)
        assert done.returncode == 2, (name, done.stderr)
