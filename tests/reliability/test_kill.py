"""A command is killed at every moment; the next command restores the host's state.

A moment is a system call of the program, or of a process that it started, that changes something.
The command is killed before each of them in turn.  A neighbour's attachments must survive all of
it.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from attrs import Factory, evolve, field, frozen
from kernel import require_kernel
from reliability.conftest import Say
from reliability.ground import Conf, Ground

from multus.state.journal import Journal
from multus.testing.netns import HostState
from multus.testing.runtime import Container

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

#: What killed Go plugins leave that their own DEL does not remove.
FOREIGN = {
    "+ firewall": "iptables rules or chains of ptp",
    "+ empty file": "an address file of host-local, made and not written",
    "+ pod: link veth": "a link of macvlan, before it was named: it goes with the pod",
}

OURS = ("in_process", "everyday", "delegating", "tagged", "moved", "virtual_functions")
KINDS = (*OURS, "executed", "mixed")


@frozen
class Sweep:
    """One command of one configuration, killed at all its moments.

    With ``whole``, all its processes are killed, else only the program, and its plugins survive.
    ``foreign`` has, by moment, what executed plugins leave that their own DEL does not remove;
    ``repeated`` has their errors where DEL had to be retried.
    """

    ground: Ground
    conf: Conf
    command: str
    whole: bool
    patient: bool
    neighbours: Conf = field(default=Factory(lambda self: self.conf, takes_self=True))
    neighbour: Container = field(init=False)
    foreign: dict[str, list[str]] = field(factory=dict)
    repeated: list[str] = field(factory=list)
    before: list[HostState] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "neighbour", self.ground.container("neighbour"))

    def run(self, recover: Callable[[Sweep, Container], None]) -> int:
        """Kill at each moment, recover and compare; returns the number of moments."""
        ground, conf, pod = self.ground, self.conf, self.ground.container("pod")
        ground.done("ADD", self.neighbours, self.neighbour)
        for command in ("ADD", "DEL"):  # create what the first call creates and later ones reuse
            ground.done(command, conf, pod)
        before = ground.state()
        self.before.append(before)
        for moment in itertools.count(1):
            # Each moment has its own container: a plugin's leaks contain the container's name.
            container = evolve(pod, id=f"c{moment}")
            if self.command == "DEL":
                ground.done("ADD", conf, container)
            family = ground.supervised(self.command, conf, container)
            run = family.run(moment, whole=self.whole)
            if not run.killed:
                assert run.status == 0, run.stdout
                if self.command == "ADD":
                    ground.done("DEL", conf, container)
                assert before.difference(ground.state()) == []
                return moment - 1
            recover(self, container)
            if not self.whole:
                family.outlive()
            if left := before.difference(ground.state()):
                self._account(f"moment {moment}, before {run.last}", left, container)
                before = ground.state()
        raise AssertionError("unreachable")

    def done(self, command: str, conf: Conf, container: Container | None = None) -> None:
        """Carry out *command*; retry once, as runtimes do, if an executed plugin's DEL fails.

        The Go ptp fails once when the chain that it was about to create is missing, or a rule of an
        earlier attempt still uses it.
        """
        status, said = self.ground.call(command, conf, container)
        if status and self.patient:
            self.repeated.append(said.decode())
            status, said = self.ground.call(command, conf, container)
        assert status == 0, said.decode()

    def _account(self, where: str, left: list[str], container: Container) -> None:
        """Only what the executed plugins' own DEL does not remove may be left."""
        assert self.patient, f"{where}: {left}"
        self.ground.delete_directly(self.conf, container)
        after = self.ground.state()
        gone = [fact for fact in left if fact[0] == "+" and fact[2:] not in after.facts]
        assert gone == [], f"{where}: the plugins' own DEL removes {gone}"
        wrong = [fact for fact in left if not fact.startswith(tuple(FOREIGN))]
        assert wrong == [], f"{where}: {wrong}"
        self.foreign[where] = left
        for fact in left:
            # Otherwise the next attempt finds the address in use, and has one more moment.
            if fact.startswith("+ empty file"):
                os.unlink(fact.rpartition(" ")[2])

    def kinds_of_foreign(self) -> Counter[str]:
        """How often each thing was left, without names and addresses."""
        return Counter(
            words
            for left in self.foreign.values()
            for start, words in FOREIGN.items()
            if any(fact.startswith(start) for fact in left)
        )


def by_del(sweep: Sweep, container: Container) -> None:
    sweep.done("DEL", sweep.conf, container)


def by_gc(sweep: Sweep, _: Container) -> None:
    sweep.done("GC", sweep.ground.collecting(sweep.conf, [sweep.neighbour]))


def by_add(sweep: Sweep, container: Container) -> None:
    record = Journal(sweep.ground.cni_dir).find(container.id, container.ifname)
    if record is not None and record.result is not None:
        status, said = sweep.ground.call("ADD", sweep.conf, container)
        assert status and b"DEL it" in said  # killed after it had finished: a second ADD is refused
    else:
        sweep.done("ADD", sweep.conf, container)
    sweep.ground.done("CHECK", sweep.conf, container)
    sweep.done("DEL", sweep.conf, container)


def by_binaries(sweep: Sweep, container: Container) -> None:
    """The node is rolled back: another program calls the plugins' binaries."""
    sweep.ground.delete_directly(sweep.conf, container)
    left = sweep.before[-1].difference(sweep.ground.state())
    # The record is Multus' own.  What was not written to its end, the binaries do not know.
    ours = (f"+ file {sweep.ground.cni_dir}/", "+ empty file")
    wrong = [each for each in left if not (each.startswith(ours) or each.endswith(".new"))]
    assert wrong == [], container
    sweep.done("DEL", sweep.conf, container)


RECOVERIES = {"DEL": by_del, "GC": by_gc, "ADD, CHECK, DEL": by_add}


def cases() -> Iterator[object]:
    """Kind, command, whether all processes are killed, the next command; small size first."""
    small = {
        ("in_process", "ADD", True, "DEL"),
        ("in_process", "DEL", True, "DEL"),
        ("everyday", "ADD", True, "DEL"),
        ("everyday", "DEL", True, "DEL"),
        ("delegating", "ADD", True, "DEL"),
        ("delegating", "DEL", True, "DEL"),
        ("moved", "ADD", True, "DEL"),
        ("moved", "DEL", True, "DEL"),
        ("virtual_functions", "ADD", True, "DEL"),
        ("virtual_functions", "DEL", True, "DEL"),
        ("executed", "ADD", True, "DEL"),
        ("executed", "DEL", True, "DEL"),
    }
    for kind, command, whole, recovery in itertools.product(
        KINDS, ("ADD", "DEL"), (True, False), RECOVERIES
    ):
        if recovery == "GC" and not whole:
            continue  # GC skips a container on which a surviving plugin still works
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
    if kind == "tagged":
        require_kernel("VLAN filter")
    conf = getattr(on_ground, kind)()
    ours = kind in OURS
    # A device is in one container.
    neighbours = on_ground.moved("card1") if kind == "moved" else conf
    sweep = Sweep(on_ground, conf, command, whole, not ours, neighbours=neighbours)
    moments = sweep.run(RECOVERIES[recovery])
    whom = "all processes" if whole else "the program alone"
    say(
        f"{kind}, {command} killed ({whom}), then {recovery}: {moments} moments,"
        f" {len(sweep.foreign)} with something of a started plugin's that its own DEL keeps,"
        f" {len(sweep.repeated)} where a started plugin's DEL failed once"
    )
    for fact, count in sweep.kinds_of_foreign().items():
        say(f"    {count} × {fact}")
    assert moments > 20
    assert not ours or not sweep.foreign


def test_the_binaries_remove_what_a_killed_add_left(
    on_ground: Ground, say: Say, full_size: bool
) -> None:
    if not full_size:
        pytest.skip("of the full size")
    sweep = Sweep(on_ground, on_ground.binaries_know(), "ADD", True, patient=False)
    moments = sweep.run(by_binaries)
    say(f"everyday, ADD killed, then DEL by the binaries: {moments} moments, 0 left")
    assert moments > 20
