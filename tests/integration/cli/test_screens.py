"""status, top and attachments as a person sees them: nothing wraps, and q ends what goes on."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from integration.cli.conftest import MadeUpNode, Pods
from integration.cli.terminal import Terminal, on_terminal
from multus.log import trace

WIDTHS = (60, 80, 120)
LONG = "a-network-with-a-name-as-long-as-somebody-chooses"


@frozen
class Busy:
    """A node with containers, a full range, and requests that failed."""

    node: MadeUpNode
    conf: dict[str, Any]
    containers: tuple[str, ...]

    def options(self) -> list[str]:
        folder = self.node.folder
        return [
            *("--net-d", str(folder / "net.d"), "--bin-dir", self.node.bin.path),
            *("--socket", str(folder / "multus.sock")),
        ]

    def command(self, *words: str) -> list[str]:
        return self.node.host.command([*self.node.program, *words])


@pytest.fixture
def busy(made_up: MadeUpNode, cni_pods: Pods) -> Busy:
    def network(name: str, subnet: str) -> dict[str, Any]:
        ipam = {"type": "host-local", "subnet": subnet, "dataDir": f"{made_up.folder}/networks"}
        return {"name": name, "type": "ptp", "ipam": ipam}

    small = network(LONG, "10.78.0.0/29")
    conf = made_up.healthy(delegates=[network("lan", "10.77.0.0/24"), small])
    containers = []
    for number in range(2):
        args = f"K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-{number}-7c5ddbdf54-abcde"
        containers.append(made_up.attach(conf, cni_pods(), args=args).id)
    containers.append(made_up.attach(conf, cni_pods()).id)
    full = made_up.folder / "networks" / LONG
    for number in range(2, 7):
        (full / f"10.78.0.{number}").touch()
    return Busy(made_up, conf, tuple(containers))


def shown(busy: Busy, columns: int, *words: str, encoding: str = "C.UTF-8") -> Terminal:
    with on_terminal(busy.command(*words), columns, encoding=encoding) as terminal:
        terminal.ended()
    return terminal


class TestStatus:
    @pytest.mark.parametrize("columns", WIDTHS)
    def test_everything_is_on_one_screen_and_no_line_is_too_wide(
        self, busy: Busy, columns: int
    ) -> None:
        terminal = shown(busy, columns, "status", *busy.options())
        lines = terminal.lines()
        assert terminal.too_wide() == []
        assert len(lines) <= 24
        text = "\n".join(lines)
        for words in ("Multus ", "default network lan", "6 network(s) of 3 container(s)"):
            assert words in text
        assert re.search(r"lan +3$", text, re.MULTILINE)
        assert re.search(r"3 of 253, 1%$", text, re.MULTILINE)
        assert "5 of 5, 100%" in text
        assert terminal.styles("5 of 5") >= {"red"}
        assert terminal.styles("3 of 253") >= {"green"}

    def test_a_full_range_is_an_error_with_a_fix(self, busy: Busy) -> None:
        done = busy.node.run("status", "--json", *busy.options())
        report = json.loads(done.stdout)
        assert done.returncode == 1
        assert [each["subject"] for each in report["findings"]] == ["range"]
        assert "multus gc" in report["findings"][0]["fix"]
        assert report["networks"] == {"lan": {"attached": 3}, LONG: {"attached": 3}}
        assert report["defaultNetwork"] == "lan"
        assert {(each["network"], each["used"]) for each in report["ranges"]} == {
            ("lan", 3),
            (LONG, 5),
        }

    def test_nothing_but_ascii_where_nothing_else_can_be_shown(self, busy: Busy) -> None:
        terminal = shown(busy, 80, "status", *busy.options(), encoding="C")
        assert "####" in terminal.written.decode("ascii")

    def test_a_failed_request_is_told(self, busy: Busy) -> None:
        state = busy.conf["cniDir"]
        assert len(list(trace.read(state))) == 3
        error = {"code": 7, "msg": "out of paper"}
        for path in (Path(f"{state}.trace"),):
            last = json.loads(path.read_text().splitlines()[-1])
            trace.append(state, {**last, "error": error})
        report = json.loads(busy.node.run("status", "--json", *busy.options()).stdout)
        (told,) = [each for each in report["findings"] if each["subject"] == "requests"]
        assert "1 of 4 in the last hour failed" in told["reason"]
        assert "out of paper" in told["reason"]

    def test_what_is_waited_for_ends_the_wait(self, made_up: MadeUpNode) -> None:
        made_up.healthy()
        options: list[str | Path] = [
            "--net-d",
            made_up.folder / "net.d",
            "--bin-dir",
            made_up.bin.path,
            "--socket",
            made_up.folder / "s",
        ]
        assert made_up.run("status", "--wait", "60", *options).returncode == 0
        (made_up.folder / "net.d" / "00-multus.conf").unlink()
        assert made_up.run("status", "--wait", "0.1", *options).returncode == 1

    def test_what_cannot_be_looked_at_is_told(self, made_up: MadeUpNode) -> None:
        made_up.healthy()
        made_up.write("state/c1:eth0", "torn")
        (made_up.folder / "state").chmod(0o777)
        done = made_up.run("status", "--net-d", made_up.folder / "net.d", "--socket", "/none")
        assert "✗ journal: " in done.stdout
        assert done.returncode == 1

    @pytest.mark.parametrize(
        ("subject", "broken"),
        [
            ("program", lambda node: os.unlink(f"{node.bin.path}/multus")),
            ("delegates", lambda node: node.healthy(delegates=[{"type": "nosuch", "name": "x"}])),
            ("delegates[0].type", lambda node: node.healthy(delegates=[{"type": 5}])),
            ("configuration order", lambda node: node.write("net.d/00-a.conf", {"type": "ptp"})),
            ("configuration order", lambda node: node.write("net.d/00-a.conf", "{")),
            ("daemon", lambda node: node.healthy(standalone=False)),
        ],
    )
    def test_what_doctor_calls_an_error_is_one(
        self, made_up: MadeUpNode, subject: str, broken: Callable[[MadeUpNode], object]
    ) -> None:
        made_up.healthy()
        broken(made_up)
        options = ("--bin-dir", made_up.bin.path, "--socket", made_up.folder / "multus.sock")
        done = made_up.run("status", "--json", "--net-d", made_up.folder / "net.d", *options)
        found = [e for e in json.loads(done.stdout)["findings"] if e["severity"] == "error"]
        assert subject in {each["subject"] for each in found}
        assert done.returncode == 1
        status, by_doctor = made_up.doctor()
        said = {each["reason"].partition(":")[0] for each in by_doctor}
        assert {each["reason"].partition(":")[0] for each in found} <= said
        assert status == 1


class TestTop:
    @pytest.mark.parametrize("columns", WIDTHS)
    def test_it_fits_and_q_ends_it(self, busy: Busy, columns: int) -> None:
        with on_terminal(busy.command("top", *busy.options()), columns) as terminal:
            terminal.until("q quits")
            lines = terminal.lines()
            assert terminal.too_wide() == []
            assert len(lines) == 24
            assert any(re.match(r"ADD +0\.6 +- +[0-9.]+ +[0-9.]+$", line) for line in lines), lines
            assert any("ADD ptp" in line for line in lines)
            assert terminal.attributes() != terminal.before
            terminal.type(b"q")
            assert terminal.ended() == 0
            assert terminal.attributes() == terminal.before
        assert terminal.written.startswith(b"\x1b[?1049h")
        assert terminal.written.endswith(b"\x1b[?25h\x1b[?1049l")

    @pytest.mark.parametrize(
        ("number", "status"),
        [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)],
    )
    def test_a_signal_leaves_the_terminal_as_it_was(
        self, busy: Busy, number: signal.Signals, status: int
    ) -> None:
        with on_terminal(busy.command("top", *busy.options()), 80) as terminal:
            terminal.until("q quits")
            os.kill(terminal.process.pid, number)
            assert terminal.ended() == status
            assert terminal.attributes() == terminal.before
        assert terminal.written.endswith(b"\x1b[?25h\x1b[?1049l")

    def test_ctrl_z_gives_the_terminal_back_until_fg(self, busy: Busy) -> None:
        top = shlex.join(busy.command("top", *busy.options()))
        # Only a shell with job control stops a program.
        script = f"{top}; echo stopped; read line; fg > /dev/null; echo ended"
        with on_terminal(["bash", "--norc", "-m", "-c", script], 80) as terminal:
            terminal.until("q quits")
            terminal.type(b"\x1a")
            terminal.until("^stopped")
            assert terminal.attributes() == terminal.before
            assert b"\x1b[?1049l" in terminal.written
            terminal.type(b"\n")
            terminal.until("q quits")
            terminal.type(b"q")
            assert terminal.ended() == 0
            assert terminal.attributes() == terminal.before
        assert terminal.written.count(b"\x1b[?1049h") == 2

    def test_a_new_size_is_used_at_once(self, busy: Busy) -> None:
        command = busy.command("top", "--interval", "1000", *busy.options())
        with on_terminal(command, 120) as terminal:
            terminal.until("q quits")
            terminal.resize(60)
            os.kill(terminal.process.pid, signal.SIGWINCH)
            terminal.until(r"^.{15}…  █")
            assert terminal.too_wide() == []
            terminal.type(b"q")
            assert terminal.ended() == 0

    def test_off_a_terminal_it_is_printed_once(self, busy: Busy) -> None:
        done = busy.node.run("top", *busy.options())
        assert done.returncode == 0
        assert "LAST FAILURES" in done.stdout and "\x1b" not in done.stdout

    def test_what_may_not_be_read_is_not_called_empty(self, busy: Busy) -> None:
        for path in (*(busy.node.folder / "networks").iterdir(), busy.node.folder / "state.trace"):
            path.chmod(0)
        (busy.node.folder / "state").chmod(0)
        rights = "-dac_override,-dac_read_search"
        done = busy.node.run("top", *busy.options(), rights=rights)
        assert "attached: not known" in done.stdout and "none" not in done.stdout
        # The records, both ranges and the trace.
        assert done.stdout.count("not looked at (run it as root): ") == 4
        done = busy.node.run("status", *busy.options(), rights=rights)
        assert done.returncode == 3
        assert re.search("attached +not known", done.stdout)
        assert re.search(f"^. range: .*{busy.node.folder}/networks/lan", done.stdout, re.MULTILINE)

    def test_what_may_not_be_seen_is_not_called_absent(self, busy: Busy) -> None:
        rights = "-dac_override,-dac_read_search"
        usual = busy.node.write("etc/cni/net.d/00-multus.conf", busy.conf)
        hidden = busy.node.folder / "run"
        hidden.mkdir(mode=0)
        for path in (usual, busy.node.folder / "net.d" / "00-multus.conf"):
            path.chmod(0)
        options: list[str | Path] = [*busy.options()[:-1], hidden / "multus.sock"]
        for command in ("status", "top"):
            done = busy.node.run(command, *options, rights=rights)
            assert "for each call" not in done.stdout and "multus.sock cannot be" in done.stdout
        done = busy.node.run("status", *options, rights=rights)
        assert re.search("configuration +cannot be read", done.stdout)
        assert re.search("calls +not known", done.stdout)
        done = busy.node.run("explain", "--root", busy.node.folder, rights=rights)
        assert done.returncode == 1 and "Permission denied" in done.stderr


class TestAttachments:
    @pytest.mark.parametrize("columns", WIDTHS)
    def test_the_table_fits(self, busy: Busy, columns: int) -> None:
        terminal = shown(busy, columns, "attachments", "--cni-dir", busy.conf["cniDir"])
        lines = terminal.lines()
        assert terminal.too_wide() == []
        assert lines[0].split() == ["POD", "INTERFACE", "NETWORK", "ADDRESSES", "STATE", "AGE"]
        assert len(lines) == 7
        assert all(re.search(r"\d+s$", line) for line in lines[1:])

    def test_the_wide_one_cuts_nothing(self, busy: Busy) -> None:
        words = ("attachments", "-o", "wide", "--cni-dir", busy.conf["cniDir"])
        lines = shown(busy, 60, *words).lines()
        assert len(lines) == 7
        assert sum(LONG in line for line in lines) == 3
        assert sum(each in line for line in lines for each in busy.containers) == 6

    @pytest.mark.parametrize(
        ("filters", "count"),
        [
            (("-n", "shop"), 4),
            (("--pod", "web-0-7c5ddbdf54-abcde"), 2),
            (("--pod", "shop/web-1-7c5ddbdf54-abcde", "--network", "lan"), 1),
            (("-n", "other"), 0),
        ],
    )
    def test_filters(self, busy: Busy, filters: tuple[str, ...], count: int) -> None:
        words = ["attachments", "--cni-dir", busy.conf["cniDir"], *filters]
        done = busy.node.run(*words, "-o", "name")
        assert (done.returncode, len(done.stdout.splitlines())) == (0, count)
        import yaml

        by_yaml = yaml.safe_load(busy.node.run(*words, "-o", "yaml").stdout)
        assert by_yaml == json.loads(busy.node.run(*words, "-o", "json").stdout)
        assert sum(len(each["attachments"]) for each in by_yaml["records"]) == count

    def test_watch_prints_what_changes(self, busy: Busy, cni_pods: Pods) -> None:
        words = ("attachments", "--watch", "--network", "lan", "--cni-dir", busy.conf["cniDir"])
        with on_terminal(busy.command(*words), 120) as terminal:
            terminal.until("AGE")
            new = busy.node.attach(busy.conf, cni_pods(), id="new1")
            terminal.until(r"^new1 +eth0 +lan .* attached")
            busy.node.runtime.delete(busy.conf, new).require()
            terminal.until(r"^new1 +eth0 +lan .* gone$")
            terminal.type(b"\x03")
            assert terminal.ended() == 130
