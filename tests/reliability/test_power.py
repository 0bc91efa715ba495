"""The power of a machine is cut at any moment, and it boots again.

User-mode Linux with ext4 disks runs ADD and DEL of four networks in several processes; its kernel
is killed.  The next boot deletes what the last one had, beside a new container: no ADD that had
succeeded may be without its record, no address may be given twice, and no file may be left.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from reliability.conftest import Say
from reliability.machine import Machine, make_disk, require_machines

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

_PROGRAM = (
    "import sys; sys.path[:0] = ['tests', '.']; from reliability.power import main; main({!r})"
)


@define
class Moment:
    """So many lines, the first of which is *first*: a busy machine says them more slowly."""

    first: str
    left: int
    _begun: bool = False

    def pass_(self, said: str) -> None:
        self._begun = self._begun or said == self.first
        self.left -= self._begun

    @property
    def is_reached(self) -> bool:
        return self.left <= 0


@define
class Cuts:
    """Boots of one machine, one after the other, and what is known of its containers.

    ``states`` has the last command of each container, and whether it has ended.
    """

    folder: Path
    split: bool
    chance: random.Random
    states: dict[str, tuple[str, bool]] = field(factory=dict)
    addresses: dict[str, str] = field(factory=dict)
    boots: set[str] = field(factory=set)
    counts: Counter[str] = field(factory=Counter)
    wrong: list[str] = field(factory=list)

    def run(self, cuts: int) -> None:
        """Cut the power so often, then let the last boot end."""
        disks = [self.folder / "a", self.folder / "b"]
        for each in disks:
            make_disk(each)
        for boot in range(cuts + 1):
            self._boot(boot, disks, last=boot == cuts)
            assert self.wrong == [], f"boot {boot}"
        assert len(self.boots) == cuts + 1

    def _boot(self, boot: int, disks: list[Path], *, last: bool) -> None:
        order = json.dumps(self._order(boot, last=last))
        machine = Machine.boot(self.folder, disks, _PROGRAM.format(order))
        moment = self._moment()
        killed: list[bool] = []
        timer = threading.Timer(self.chance.random(), lambda: killed.append(machine.cut()))
        for line in machine.lines():
            self._note(boot, line["what"], line)
            if line["what"] == "done":
                machine.cut()
            moment.pass_(line["what"])
            if moment.is_reached and not last and timer.ident is None:
                timer.start()
        if last:
            assert self.counts["done"] == 1, machine.console()
            return
        assert timer.ident, machine.console()
        timer.join()
        assert killed == [True], machine.console()
        self._count_cut()

    def _count_cut(self) -> None:
        self.counts["cuts"] += 1
        under_way = {state[0] for state in self.states.values() if not state[1]}
        self.counts.update(f"cuts in {command}" for command in under_way)

    def _moment(self) -> Moment:
        """When to cut: one in four cuts is in the recovery from the last one."""
        if self.chance.random() < 0.25:
            return Moment("mounted", self.chance.randint(1, 6))
        return Moment("recovered", self.chance.randint(1, 14))

    def _order(self, boot: int, *, last: bool) -> dict[str, Any]:
        """What the machine is told."""
        gone = (("DEL", True), ("GC", True))
        self.states = {name: state for name, state in self.states.items() if state not in gone}
        self.addresses.clear()  # whoever had one is gone
        return {
            "seed": self.chance.random(),
            "boot": boot,
            "split": self.split,
            "due": [*self.states],
            "held": [name for name, state in self.states.items() if state == ("ADD", True)],
            "how": self.chance.choice(("DEL", "GC")),
            "last": last,
        }

    def _note(self, boot: int, said: str, line: Mapping[str, Any]) -> None:
        self.counts[said] += 1
        if said in ("wrong", "left") or (said == "doctor" and line["when"] == "after"):
            self.wrong.append(line["text"])
        elif said == "up":
            self.boots.add(line["boot_id"])
        elif said in ("begins", "ended"):
            command, ended = line["command"], said == "ended"
            earlier = [each for each in self.states if not each.startswith(f"b{boot}")]
            for name in earlier if command == "GC" else [line["name"]]:
                self.states[name] = command, ended
            self.counts[command] += ended
            for address in line.get("addresses", ()):
                self._give(address, line["name"])

    def _give(self, address: str, name: str) -> None:
        """No container may have the address whose DEL has not begun."""
        owner = self.addresses.get(address, name)
        if owner != name and self.states.get(owner) == ("ADD", True):
            self.wrong.append(f"{address} is of {owner} and of {name}")
        self.addresses[address] = name


@pytest.mark.parametrize("split", [False, True], ids=["one disk", "two disks"])
def test_nothing_is_lost_with_the_power(
    tmp_path: Path, full_size: bool, say: Say, split: bool
) -> None:
    require_machines()
    seed = random.SystemRandom().randrange(1 << 32)
    cuts = Cuts(tmp_path, split, random.Random(seed))
    try:
        cuts.run(100 if full_size else 6)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}") from error
    where = "state and stores on two disks" if split else "state and stores on one disk"
    counted = ", ".join(f"{count} × {what}" for what, count in sorted(cuts.counts.items()))
    say(f"power cuts, {where}, seed {seed}: {counted}")
