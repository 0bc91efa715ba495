"""The power of a machine is cut at any moment, and it boots again.

User-mode Linux with ext4 disks runs ADD and DEL of four networks in several processes; its kernel
is killed.  The next boot deletes what the last one had, beside a new container: no ADD that had
succeeded may be without its record, no address may be given twice, and no file may be left.
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
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


#: Of lines that a machine says of its last image, the power is cut within so many.
LINES = 40

#: How long a machine may say nothing, in seconds.
PATIENCE = 120.0


@define
class Image:
    """Disks of a machine, and what is known of its containers when the power was cut.

    ``states`` has the last command of each container, and whether it has ended.
    """

    disks: Sequence[Path]
    states: dict[str, tuple[str, bool]] = field(factory=dict)

    def order(self, how: str) -> dict[str, Any]:
        """What the next boot is told."""
        gone = (("DEL", True), ("GC", True))
        self.states = {name: state for name, state in self.states.items() if state not in gone}
        held = [name for name, state in self.states.items() if state == ("ADD", True)]
        return {"how": how, "due": [*self.states], "held": held}

    def note(self, command: str, name: str, boot: int, *, ended: bool) -> None:
        earlier = [each for each in self.states if not each.startswith(f"b{boot}")]
        for each in earlier if command == "GC" else [name]:
            self.states[each] = command, ended

    def remove(self) -> None:
        for each in self.disks:
            each.unlink()

    def copied(self, to: Path) -> Image:
        to.mkdir()
        command = ["cp", "--sparse=always", *map(str, self.disks), str(to)]
        subprocess.run(command, check=True)
        return Image([to / each.name for each in self.disks], dict(self.states))


@define
class Cuts:
    """Boots of one machine, one after the other.

    Each recovers what the cuts of the last one left, ``images``, and goes on with the last of them.
    """

    folder: Path
    split: bool
    chance: random.Random
    images: list[Image] = field(factory=list)
    addresses: dict[str, str] = field(factory=dict)
    boots: set[str] = field(factory=set)
    counts: Counter[str] = field(factory=Counter)
    wrong: list[str] = field(factory=list)

    def run(self, boots: int, cuts: int) -> None:
        """Boot so often, with so many cuts each time; once more, to look at the last ones."""
        main = Image([self.folder / name for name in ("a", "b")[: 1 + self.split]])
        for each in main.disks:
            make_disk(each)
        self.images = [main]
        for boot in range(boots + 1):
            self._boot(boot, 0 if boot == boots else cuts)
        assert len(self.boots) == boots + 1

    def _boot(self, boot: int, cuts: int) -> None:
        order = {
            "seed": self.chance.random(),
            "boot": boot,
            "work": bool(cuts),
            "images": [each.order(self.chance.choice(("DEL", "GC"))) for each in self.images],
            "split": self.split,
        }
        self.addresses.clear()  # whoever had one is gone
        disks = [disk for image in self.images for disk in image.disks]
        machine = Machine.boot(self.folder, disks, _PROGRAM.format(json.dumps(order)))
        try:
            self._watch(machine, boot, cuts)
        finally:
            machine.cut()

    def _watch(self, machine: Machine, boot: int, cuts: int) -> None:
        """Note what the machine says, and cut its power at so many moments.

        A moment is after a number of lines, since a busy machine says them more slowly, and a
        part of a second more.  The last cut is its end.
        """
        main, copies = self.images[-1], []
        heard = Heard(self, machine, boot)
        moments = sorted(self.chance.sample(range(1, LINES), cuts))
        for number, moment in enumerate(moments, start=1):
            heard.listen(lines=moment)
            heard.listen(seconds=self.chance.random())
            if number == cuts:
                machine.cut()
                with suppress(EOFError):
                    heard.listen(seconds=PATIENCE)
            else:
                with machine.stopped():
                    heard.listen(seconds=0)
                    copies.append(main.copied(self.folder / f"{boot}-{number}"))
            self._count_cut(main)
        if not cuts:
            heard.listen(lines=LINES)
        for each in self.images[:-1]:
            each.remove()
        self.images = [*copies, main]

    def _count_cut(self, image: Image) -> None:
        self.counts["cuts"] += 1
        under_way = {state[0] for state in image.states.values() if not state[1]}
        self.counts.update(f"cuts in {command}" for command in under_way)

    def note(self, boot: int, line: Mapping[str, Any]) -> None:
        said = line["what"]
        self.counts[said] += 1
        if said in ("wrong", "left"):
            self.wrong.append(line["text"])
        elif said == "up":
            self.boots.add(line["boot_id"])
        elif said in ("begins", "ended"):
            image, ended = self.images[line["image"]], said == "ended"
            image.note(line["command"], line["name"], boot, ended=ended)
            self.counts[line["command"]] += ended
            for address in line.get("addresses", ()):
                self._give(address, line["name"], image)

    def _give(self, address: str, name: str, image: Image) -> None:
        """No container may have the address whose DEL has not begun."""
        owner = self.addresses.get(address, name)
        if owner != name and image.states.get(owner) == ("ADD", True):
            self.wrong.append(f"{address} is of {owner} and of {name}")
        self.addresses[address] = name


@define
class Heard:
    """The lines of a machine that are of its last image, counted."""

    cuts: Cuts
    machine: Machine
    boot: int
    lines: int = 0

    def listen(self, lines: int | None = None, seconds: float = PATIENCE) -> None:
        """Note what is said within so many *seconds*, or up to so many *lines*, which must come."""
        deadline = time.monotonic() + seconds
        while lines is None or self.lines < lines:
            line = self.machine.line(deadline)
            if line is None:
                assert lines is None, self.machine.console()
                return
            self.cuts.note(self.boot, line)
            assert self.cuts.wrong == [], f"boot {self.boot}"
            self.lines += line.get("image") == len(self.cuts.images) - 1
            if line["what"] == "done":
                return
            if lines is not None:
                deadline = time.monotonic() + seconds


@pytest.mark.parametrize("split", [False, True], ids=["one disk", "two disks"])
def test_nothing_is_lost_with_the_power(
    tmp_path: Path, full_size: bool, say: Say, split: bool
) -> None:
    require_machines()
    seed = random.SystemRandom().randrange(1 << 32)
    cuts = Cuts(tmp_path, split, random.Random(seed))
    try:
        cuts.run(13 if full_size else 1, cuts=8 if full_size else 6)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}") from error
    where = "state and stores on two disks" if split else "state and stores on one disk"
    counted = ", ".join(f"{count} × {what}" for what, count in sorted(cuts.counts.items()))
    say(f"power cuts, {where}, seed {seed}: {counted}")
