"""A node in a machine whose power is cut: calls without end, and what a boot finds.

It runs in user-mode Linux, as the program of a machine of ``tools/vm``; ``reliability.machine`` is
its other side.  ``main`` recovers what the last cut left, says what it found, and then adds and
deletes containers until the power is cut.  It says each step on standard output, before and after,
as a line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from reliability.afflicted import BIN, CONF, LEASE, Afflicted

from multus.api.errors import CNIError
from multus.api.jsontext import encode
from multus.cli.commands.doctor.examine import EXAMINATIONS, node_at
from multus.cli.commands.doctor.places import Places
from multus.cli.findings import OK
from multus.state.journal import Journal
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns

#: Processes that add and delete at the same time, and containers of each.
WORKERS, MOST = 2, 2

#: How the disks are mounted; what is on them after a cut depends on it.
MOUNTS = ("defaults", "commit=1", "nodelalloc", "data=writeback,commit=1")

_FOLDERS = ("/run/a", "/run/b")

#: The disks of a machine.
DISKS = [f"ubd{letter}" for letter in "abcdefghijklmnop"]


def say(what: str, **facts: Any) -> None:
    """Say a fact to the other side of the machine's line, at once."""
    os.write(1, encode({"what": what, **facts}) + b"\n")


# --- After a boot ---------------------------------------------------------------------------------


@frozen
class Recovery:
    """What a boot does about the containers of the last one, all of which are gone.

    *held* are those whose ADD had succeeded and whose DEL had not begun, *due* all that had begun
    and were not gone.
    """

    node: Afflicted
    image: int
    held: Sequence[str]
    due: Sequence[str]
    fresh: str

    def survey(self) -> None:
        """What the journal knows of the *held* ones: all that a DEL needs."""
        journal = Journal(self.node.cni_dir)
        for name in self.held:
            record = journal.find(name, "eth0")
            if record is None:
                say("wrong", text=f"{name} has been added and has no record")
            elif not record.complete or len(record.planned) != 4:
                say("wrong", text=f"the record of {name} has {len(record.planned)} networks")
        for each in journal.records():
            if isinstance(each, CNIError):
                say("wrong", text=f"the journal cannot be read: {each}")
            elif each.damage:
                say("torn", text=each.damage)

    def run(self, how: str) -> None:
        """Add a container, remove the others by *how*; only it may be left, then nothing."""
        Path(CONF).write_text(json.dumps(self.node.conf))
        self.survey()
        netns = Netns.create("fresh")
        self._succeeds("ADD", self.fresh, netns.path)
        if how == "DEL":
            for name in self.due:
                self._succeeds("DEL", name, "")
                for each in self.node.of(name):
                    say("left", text=f"{name} after its DEL: {each}")
        say("begins", image=self.image, command="GC", name="")
        status, told = self.node.command("gc", "-c", CONF, "--cni-dir", self.node.cni_dir, "--json")
        if status:
            say("wrong", text=f"gc: {told}")
        say("ended", image=self.image, command="GC", name="", status=status)
        self._succeeds("CHECK", self.fresh, netns.path)
        self._succeeds("DEL", self.fresh, netns.path)
        netns.remove()
        self._examine()
        for each in self.node.files():
            if not self.node.one_disk and each.startswith(self.node.kept):
                # The record's removal was on its disk, the file's was not.  A record would remove
                # it, and no container reads it.
                say("file of a container that is gone")
                os.unlink(each.partition(" ")[0])
            else:
                say("left", text=f"in the end: {each}")

    def _succeeds(self, command: str, name: str, netns: str) -> None:
        say("begins", image=self.image, command=command, name=name)
        status, stdout = self.node.call(command, name, netns)
        if status:
            say("wrong", text=f"{command} of {name}: {stdout.decode()}")
        say("ended", image=self.image, command=command, name=name, status=status)

    def _examine(self) -> None:
        """``multus doctor`` says nothing of state and stores when no container is left."""
        places = Places(addresses=self.node.addresses, cni_dir=self.node.cni_dir)
        node = node_at(places, CONF)
        for title in ("State", "Kept DELs", "Leaks"):
            for each in EXAMINATIONS[title](node):
                if each.subject not in ("disk", "clock") and each.severity != OK:
                    say("wrong", text=f"doctor: {each.to_wire()}")


# --- Until the cut --------------------------------------------------------------------------------


def work(node: Afflicted, image: int, worker: str, chance: random.Random) -> None:
    """Add and delete containers, at most a few at a time, without end."""
    living: dict[str, Netns] = {}
    number = 0
    while True:
        if len(living) < MOST and (not living or chance.random() < 0.6):
            number += 1
            name, command = f"{worker}n{number}", "ADD"
            living[name] = Netns.create(worker)
        else:
            name, command = chance.choice(sorted(living)), "DEL"
        say("begins", image=image, command=command, name=name)
        status, stdout = node.call(command, name, living[name].path)
        if status:
            say("wrong", text=f"{command} of {name}: {stdout.decode()}")
            return
        got = [ip["address"] for ip in json.loads(stdout)["ips"]] if command == "ADD" else []
        say("ended", image=image, command=command, name=name, addresses=got)
        if command == "DEL":
            living.pop(name).remove()


def mount(disks: Sequence[str], options: str) -> Afflicted:
    """Mount the disks of one image: one, or another one for the stores."""
    for disk, folder in zip(disks, _FOLDERS, strict=False):
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["mount", "-t", "ext4", "-o", options, f"/dev/{disk}", folder], check=True)
    return Afflicted(_FOLDERS[0], f"{_FOLDERS[len(disks) - 1]}/stores")


def prepare(chance: random.Random) -> None:
    """Make the node's links, and set how soon what is written goes to a disk."""
    for name in ("expire", "writeback"):
        hundredths = chance.choice((5, 100, 3000, 3000))
        Path(f"/proc/sys/vm/dirty_{name}_centisecs").write_text(str(hundredths))
    for command in (
        "ip link add uplink type veth peer name wire",
        "ip link set wire up",
        "ip link set uplink up",
    ):
        subprocess.run(command.split(), check=True)
    Path(LEASE).write_text(
        "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.1.1/24\n"
        "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n"
    )
    os.makedirs(BIN)
    BinDir(BIN).real()
    # What a first call imports, the processes below inherit.
    node, netns = Afflicted("/run/first", "/run/first"), Netns.create("first")
    for command in ("ADD", "DEL"):
        node.call(command, "first", netns.path)
    netns.remove()


def in_child(work: Callable[..., None], *arguments: Any) -> None:
    """Do it in a process of its own, which remembers nothing of another image's stores."""
    child = os.fork()
    if child == 0:
        try:
            work(*arguments)
        except Exception:  # noqa: BLE001  the console gets it, and the parent says it
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        say("wrong", text=f"{work} has not ended well: see the console")


def main(order: str) -> None:
    """Recover, then work until the power is cut; *order* is JSON."""
    asked = json.loads(order)
    boot, images = asked["boot"], asked["images"]
    chance = random.Random(asked["seed"])
    # An address without a record has to be a minute old before it is freed.
    time.clock_settime(time.CLOCK_REALTIME, time.time() + 120 * (boot + 1))
    say("up", boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    prepare(chance)
    each, last = 1 + asked["split"], len(images) - 1
    for number, image in enumerate(images):
        node = mount(DISKS[number * each : (number + 1) * each], chance.choice(MOUNTS))
        say("mounted", image=number)
        chance.shuffle(image["due"])
        recovery = Recovery(node, number, image["held"], image["due"], f"b{boot}fresh")
        in_child(recovery.run, image["how"])
        say("recovered", image=number)
        if number < last:
            subprocess.run(["umount", *_FOLDERS[:each]], check=True)
    if asked["work"]:
        for worker in (f"b{boot}w{number}" for number in range(WORKERS)):
            if os.fork() == 0:
                work(node, last, worker, random.Random(f"{asked['seed']} {worker}"))
                os._exit(1)
        os.wait()
        time.sleep(600)
    say("done", image=last)
