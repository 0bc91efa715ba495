"""Calls of kubectl end in time, print no more than is read, and go on side by side."""

from __future__ import annotations

import shlex
import threading
from pathlib import Path

import pytest

from multus.api.errors import NotInstalled
from multus.cli.findings import ERROR, UNCHECKED, Finding
from multus.cli.kubectl import COMMANDS, access, main, parser
from multus.cli.kubectl.access import Kubectl, NoAnswer
from multus.cli.kubectl.nodes import AT_ONCE, Answer, Cluster, Node
from multus.cli.kubectl.shown import findings_of, grouped
from multus.cli.manual import subcommands


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that stands where kubectl would be found; a test writes it."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    path = tmp_path / "kubectl"
    path.touch(mode=0o755)
    return path


def test_a_word_that_is_no_command_is_answered_with_the_nearest_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["statsu"]) == 2
    said = capsys.readouterr().err
    assert said == (
        "kubectl multus: there is no command 'statsu': did you mean 'status'?"
        " 'kubectl multus --help' lists all\n"
    )


class TestCalls:
    def test_one_that_hangs_is_killed(self, program: Path, tmp_path: Path) -> None:
        program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid; exec sleep 60\n")
        with pytest.raises(NoAnswer, match=r"no answer within 0\.5 s"):
            Kubectl((), 0.5).run("exec")
        process = (tmp_path / "pid").read_text().strip()
        assert not Path(f"/proc/{process}").exists()

    def test_one_that_closes_its_output_and_hangs_is_killed_too(self, program: Path) -> None:
        program.write_text("#!/bin/sh\nexec sleep 60 >&- 2>&-\n")
        with pytest.raises(NoAnswer):
            Kubectl((), 0.5).run("exec")

    def test_output_without_end_is_refused(
        self, program: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(access, "LARGEST", 100_000)
        program.write_text("#!/bin/sh\nexec yes\n")
        with pytest.raises(NoAnswer, match="longer than 100000 bytes"):
            Kubectl((), 60).run("exec")

    def test_errors_without_end_are_cut(self, program: Path) -> None:
        program.write_text("#!/bin/sh\nseq 1 100000 >&2; exit 3\n")
        done = Kubectl((), 60).run("exec")
        assert done.status == 3
        assert done.said == "99998; 99999; 100000"
        assert len(done.stderr) < 200_000

    def test_input_arrives_whole(self, program: Path) -> None:
        program.write_text("#!/bin/sh\nexec wc -c\n")
        assert int(Kubectl((), 60).run("exec", stdin=b"x" * 1_000_000).stdout) == 1_000_000

    def test_flags_stand_before_the_command(self, program: Path) -> None:
        program.write_text('#!/bin/sh\necho "$@"\n')
        words = ["status", "--context", "east", "--as-group=a", "--as-group=b", "--timeout=5"]
        kubectl = access.kubectl_of(parser().parse_args(words))
        assert kubectl.seconds == 5
        assert kubectl.run("exec").stdout == b"--context=east --as-group=a --as-group=b exec\n"

    def test_flags_may_stand_before_the_plugins_command(self) -> None:
        before = access.kubectl_of(parser().parse_args(["--context", "east", "status"]))
        assert before.flags == ("--context=east",)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_the_examples_of_the_help_are_taken(self, command: str) -> None:
        text = subcommands(parser())[command].format_help().partition("Examples:")[2]
        typed = [line.strip() for line in text.splitlines() if line.startswith("  kubectl multus")]
        assert typed
        for each in typed:
            for end in ("   ", " | ", " -- "):
                each = each.partition(end)[0]
            words = shlex.split(each)[2:]
            assert parser().parse_args(words).command == command

    def test_kubectl_does_not_read_what_is_for_this_program(
        self, program: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program.write_text("#!/bin/sh\nexec wc -c\n")
        with (program.parent / "pod.yaml").open("w+") as given:
            given.write("kind: Pod\n")
            given.seek(0)
            monkeypatch.setattr("sys.stdin", given)
            assert Kubectl((), 60).ask("get", "nodes").strip() == "0"

    def test_a_machine_without_kubectl_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(NotInstalled, match="cannot start kubectl"):
            Kubectl((), 1).run("exec")

    @pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
    def test_a_time_limit_is_a_positive_number(self, text: str) -> None:
        with pytest.raises(SystemExit):
            parser().parse_args(["status", f"--timeout={text}"])


def nodes(count: int) -> list[Node]:
    return [Node(f"n{number}", f"pod-{number}") for number in range(count)]


class TestNodes:
    def test_a_slow_node_does_not_hold_up_the_others(self) -> None:
        rest = threading.Barrier(AT_ONCE)

        def ask(node: Node) -> str:
            # All of these have to be under way at the same time.
            rest.wait(60)
            return node.name

        cluster = Cluster(Kubectl((), 60), "kube-system")
        assert cluster._each(nodes(AT_ONCE), ask) == [each.name for each in nodes(AT_ONCE)]

    def test_no_more_than_so_many_are_asked_at_a_time(self) -> None:
        lock, under_way, most = threading.Lock(), 0, 0

        def ask(node: Node) -> str:
            nonlocal under_way, most
            with lock:
                under_way += 1
                most = max(most, under_way)
            threading.Event().wait(0.001)
            with lock:
                under_way -= 1
            return node.name

        Cluster(Kubectl((), 60), "kube-system")._each(nodes(4 * AT_ONCE), ask)
        assert most <= AT_ONCE

    def test_those_that_are_not_ready_come_last(self) -> None:
        order: list[str] = []
        lost = [Node(f"lost-{number}", "pod", ready=False) for number in range(3)]
        cluster = Cluster(Kubectl((), 60), "kube-system")
        answers = cluster._each([*lost, *nodes(3)], lambda node: order.append(node.name))
        assert len(answers) == 6
        assert order[-1].startswith("lost-")
        assert order[0] == "n0"

    def test_a_failure_of_one_is_its_answer(self, program: Path) -> None:
        program.write_text('#!/bin/sh\ncase $* in *pod-1*) exec sleep 60;; *) echo "{}";; esac\n')
        answers = Cluster(Kubectl((), 1), "kube-system").reports(nodes(3), "status")
        assert [each.failure for each in answers] == ["", "no answer within 1 s", ""]


def answer(name: str, *findings: object) -> Answer:
    return Answer(Node(name, "pod"), {"findings": list(findings)})


FULL = {"severity": "error", "subject": "range", "reason": "is full", "fix": "enlarge it"}


class TestFindings:
    def test_the_same_of_several_nodes_is_one(self) -> None:
        few = grouped([answer("a", FULL, FULL), answer("b", FULL), answer("c")])
        assert few == [Finding(ERROR, "a, b: range", "is full", "enlarge it")]
        many = [answer(f"n{number}", FULL) for number in range(5)]
        assert [each.subject for each in grouped(many)] == ["all 5 nodes: range"]
        assert [each.subject for each in grouped([*many, answer("m")])] == [
            "n0, n1, n2 and 2 more: range"
        ]

    @pytest.mark.parametrize("wire", [None, [], "x", {"severity": "catastrophe"}])
    def test_what_another_version_reports_is_not_called_right(self, wire: object) -> None:
        assert [each.severity for each in findings_of(answer("a", wire))] == [UNCHECKED]

    def test_a_report_without_findings_is_not_called_right(self) -> None:
        assert findings_of(Answer(Node("a", "pod"), {}))[0].severity == UNCHECKED
