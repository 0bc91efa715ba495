"""Killed at every moment of a command, the next one leaves the host as it was before.

Every system call of the program, and of what it starts, that changes something is a moment; the
command is killed before each of them in turn.  A neighbour's attachments must survive all of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from attrs import field, frozen

from multus.testing.runtime import Container
from reliability.conftest import Say
from reliability.ground import Conf, Ground

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

KINDS = ("in_process", "executed", "mixed")


@frozen
class Sweep:
    """One command of one configuration, killed at all its moments.

    With ``whole``, all its processes are killed, else only the program, which its plugins outlive.
    ``foreign`` holds what was left that the plugins' own DEL does not remove either, by moment.
    """

    ground: Ground
    conf: Conf
    command: str
    whole: bool = True
    container: Container = field(init=False)
    neighbour: Container = field(init=False)
    foreign: dict[str, list[str]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "container", self.ground.container("c1"))
        object.__setattr__(self, "neighbour", self.ground.container("neighbour"))

    def run(self, recover: Callable[[Sweep], None]) -> int:
        """Kill at each moment, recover and compare; returns how many moments there were."""
        ground, conf = self.ground, self.conf
        for command in ("ADD", "DEL"):  # what the first of all calls makes, and keeps, is made
            ground.done(command, conf, self.container)
        ground.done("ADD", conf, self.neighbour)
        before = ground.state()
        for moment in itertools.count(1):
            if self.command == "DEL":
                ground.done("ADD", conf, self.container)
            family = ground.supervised(self.command, conf, self.container)
            run = family.run(moment, whole=self.whole)
            if not run.killed:
                assert run.status == 0, run.stdout
                if self.command == "ADD":
                    ground.done("DEL", conf, self.container)
                assert before.difference(ground.state()) == []
                return moment - 1
            recover(self)
            if not self.whole:
                family.outlive()
            left = before.difference(ground.state())
            if left:
                self._account(f"moment {moment}, before {run.last}", left)
                before = ground.state()
        raise AssertionError("unreachable")

    def _account(self, where: str, left: list[str]) -> None:
        """Only what the plugins' own DEL does not remove may be left."""
        self.ground.done("DEL", self.conf, self.container)
        assert self.conf.get("invokers") or any("invoker" in d for d in self.conf["delegates"]), (
            where,
            left,
        )
        still = [fact for fact in left if fact.startswith("+ firewall")]
        assert still == left, (where, left)
        self.foreign[where] = left


def by_del(sweep: Sweep) -> None:
    sweep.ground.done("DEL", sweep.conf, sweep.container)


def by_gc(sweep: Sweep) -> None:
    ground = sweep.ground
    ground.done("GC", ground.collecting(sweep.conf, [sweep.neighbour]))


def by_add(sweep: Sweep) -> None:
    for command in ("ADD", "CHECK", "DEL"):
        sweep.ground.done(command, sweep.conf, sweep.container)


RECOVERIES = {"DEL": by_del, "GC": by_gc, "ADD, CHECK, DEL": by_add}


def cases() -> Iterator[object]:
    """Kind, command, whether all processes are killed, and what comes after; small size first."""
    small = {
        ("in_process", "ADD", True, "DEL"),
        ("in_process", "DEL", True, "DEL"),
        ("executed", "ADD", True, "DEL"),
        ("executed", "DEL", True, "DEL"),
    }
    for kind, command, whole, recovery in itertools.product(
        KINDS, ("ADD", "DEL"), (True, False), RECOVERIES
    ):
        if recovery == "GC" and not whole:
            continue  # GC leaves alone what a surviving plugin still works on
        case = (kind, command, whole, recovery)
        whom = "all processes" if whole else "the program"
        yield pytest.param(*case, case not in small, id=f"{kind}-{command}-{whom}-{recovery}")


@pytest.mark.parametrize(("kind", "command", "whole", "recovery", "full"), [*cases()])
def test_nothing_is_left(
    on_ground: Ground,
    say: Say,
    full_size: bool,
    kind: str,
    command: str,
    whole: bool,
    recovery: str,
    full: bool,
) -> None:
    if full and not full_size:
        pytest.skip("of the full size")
    sweep = Sweep(on_ground, getattr(on_ground, kind)(), command, whole)
    moments = sweep.run(RECOVERIES[recovery])
    whom = "all processes" if whole else "the program alone"
    kept = f", {len(sweep.foreign)} with rules that the plugin's own DEL keeps" * bool(sweep.foreign)
    say(f"{kind}, {command} killed ({whom}), then {recovery}: {moments} moments, 0 leaks{kept}")
    assert moments > 20
