"""A node in a machine whose power is cut: calls without end, and what a boot finds.

It runs in user-mode Linux, as the program of a machine of ``tools/vm``; ``reliability.machine`` is
its other side.  ``main`` recovers what the last cut left, says what it found, and then adds and
deletes containers until the power is cut.  It says each step on standard output, before and after,
as a line of JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from multus.api.conf import Conf
from multus.api.jsontext import encode
from multus.cli import main as command_line
from multus.cli.commands.doctor.examine import EXAMINATIONS, node_at
from multus.cli.commands.doctor.places import Places
from multus.cli.findings import OK
from multus.cni import skel
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.registry.index import discover
from multus.registry.loading import Installed, load
from multus.state.journal import Journal
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns
from multus.testing.runtime import Container

#: Processes that add and delete at the same time, and containers of each.
WORKERS, MOST = 2, 2

#: How the disks are mounted; what is on them after a cut depends on it.
MOUNTS = ("defaults", "commit=1", "nodelalloc", "data=writeback,commit=1")

#: Files that stay by design: locks, and host-local's last reserved address.
_STAYS = (".lock", "lock", "last_reserved_ip")
_CONF = "/run/multus.conf"
_ARGS = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web"


def say(what: str, **facts: Any) -> None:
    """Say a fact to the other side of the machine's line, at once."""
    os.write(1, encode({"what": what, **facts}) + b"\n")


@frozen
class Definitions:
    """A stand-in for the API: each pod requests these networks."""

    configs: Mapping[str, Mapping[str, Any]]

    def get(self, wanted: Any, deadline: object) -> Any:
        name = wanted.name
        whole = {"cniVersion": "1.0.0", "name": name, **self.configs[name]}
        return {"spec": {"config": json.dumps(whole)}}

    def get_each(self, wanted: Sequence[Any], deadline: object) -> list[Any]:
        return [self.get(each, deadline) for each in wanted]

    def select(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return []

    def pod(self, namespace: str, name: str, deadline: object, uid: str = "") -> Any:
        return {"annotations": {"k8s.v1.cni.cncf.io/networks": ",".join(self.configs)}}

    def write(self, writes: Sequence[Any], seconds: float) -> None:
        """Accept every write."""


@frozen
class Afflicted:
    """The node: its state is on one disk, its stores on the same or on another one."""

    state: str
    stores: str
    bin: str
    installed: Installed = field(factory=lambda: load(discover()))

    @property
    def cni_dir(self) -> str:
        return f"{self.state}/multus"

    @property
    def conf(self) -> dict[str, Any]:
        tuning = {"type": "tuning", "mtu": 1400, "dataDir": f"{self.stores}/tuning"}
        flannel = {"type": "flannel", "delegate": {"bridge": "cni0"}, "subnetFile": self._lease()}
        flannel |= {"dataDir": f"{self.stores}/flannel", "ipam": {"dataDir": self.addresses}}
        executed = {"type": "bridge", "bridge": "br0", "ipam": self._ipam(2), "invoker": "exec"}
        return {
            "cniVersion": "1.1.0",
            "name": "node",
            "type": "multus",
            "cniDir": self.cni_dir,
            "binDir": self.bin,
            "logToStderr": False,
            "kubeconfig": "/none",
            "tenantPaths": {"dataDir": [self.addresses]},
            "delegates": [
                {"name": "chain", "plugins": [flannel, tuning]},
                {"name": "executed", **executed},
            ],
        }

    @property
    def addresses(self) -> str:
        return f"{self.stores}/networks"

    def _ipam(self, number: int, *more: str) -> dict[str, Any]:
        ranges = [[{"subnet": each}] for each in (f"10.{number}.0.0/24", *more)]
        return {"type": "host-local", "dataDir": self.addresses, "ranges": ranges}

    def _lease(self) -> str:
        path = "/run/subnet.env"
        Path(path).write_text(
            "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.1.1/24\n"
            "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n"
        )
        return path

    def _tenants(self) -> dict[str, dict[str, Any]]:
        return {
            "ptp": {"type": "ptp", "ipam": self._ipam(3, "fd00:3::/64")},
            "macvlan": {"type": "macvlan", "master": "uplink", "ipam": self._ipam(4)},
        }

    # --- Calls -----------------------------------------------------------------------------------

    def call(self, command: str, name: str, netns: str) -> tuple[int, bytes]:
        """One call by the engine of this process."""
        container = Container(netns, name, "eth0", _ARGS)
        search = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        environ = {"PATH": search, "CNI_COMMAND": command, "CNI_PATH": self.bin}
        environ |= container.environ()
        return skel.answer(environ, encode(self.conf), self._engine)

    def _engine(self, conf: Conf, deadline: float | None = None) -> Engine:
        log, api = Log.from_conf(conf.raw), Definitions(self._tenants())
        return Engine(self.installed, log, api=api, deadline=deadline)

    def command(self, *argv: str) -> tuple[int, str]:
        """One command line of the program; its status and standard output."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            status = command_line(argv)
        return status, printed.getvalue()

    # --- What is on the disks --------------------------------------------------------------------

    def files(self) -> Iterator[str]:
        """The files that should not be there when no container is."""
        for folder in (self.cni_dir, self.stores):
            for parent, _, names in os.walk(folder):
                for name in names:
                    path = os.path.join(parent, name)
                    if not name.startswith(_STAYS) and not name.endswith(".lock"):
                        yield f"{path} {Path(path).read_bytes()[:40]!r}"

    def forget_foreign(self) -> Iterator[str]:
        """Remove the address files that the Go host-local had made and not written to.

        It never gives such an address again; the host-local of this project frees it.
        """
        for path in Path(self.addresses, "executed").glob("[0-9]*"):
            if not path.read_bytes().strip(b"\0"):
                path.unlink()
                yield str(path)

    def of(self, name: str) -> list[str]:
        """The files that name a container."""
        return [each for each in self.files() if name in each]


# --- After a boot ---------------------------------------------------------------------------------


@frozen
class Recovery:
    """What a boot does about the containers of the last one, all of which are gone.

    *held* are those whose ADD had succeeded and whose DEL had not begun, *due* all that had begun
    and were not gone.
    """

    node: Afflicted
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
        for name in self.due:
            record = journal.find(name, "eth0")
            if record is not None and record.damage:
                say("torn", text=f"{name}: {record.damage}")

    def run(self, how: str) -> None:
        """Add a container, remove the others by *how*; only it may be left, then nothing."""
        self.survey()
        self._sane("before")
        netns = Netns.create("fresh")
        self._succeeds("ADD", self.fresh, netns.path)
        if how == "DEL":
            for name in self.due:
                self._succeeds("DEL", name, "")
                for each in self.node.of(name):
                    say("left", text=f"{name} after its DEL: {each}")
        say("begins", command="GC", name="")
        status, told = self.node.command("gc", "--cni-dir", self.node.cni_dir, "--json")
        if status:
            say("wrong", text=f"gc: {told}")
        say("ended", command="GC", name="", status=status)
        self._succeeds("CHECK", self.fresh, netns.path)
        self._succeeds("DEL", self.fresh, netns.path)
        netns.remove()
        self._sane("after")
        for each in self.node.forget_foreign():
            say("foreign", path=each)
        for each in self.node.files():
            say("left", text=f"in the end: {each}")

    def _succeeds(self, command: str, name: str, netns: str) -> None:
        say("begins", command=command, name=name)
        status, stdout = self.node.call(command, name, netns)
        if status:
            say("wrong", text=f"{command} of {name}: {stdout.decode()}")
        say("ended", command=command, name=name, status=status)

    def _sane(self, when: str) -> None:
        """What ``multus doctor`` says of state and stores: nothing when no container is left."""
        places = Places(addresses=self.node.addresses, cni_dir=self.node.cni_dir)
        node = node_at(places, _CONF)
        for title in ("State", "Queued DELs", "Leaks"):
            for each in EXAMINATIONS[title](node):
                if each.subject not in ("disk", "clock") and each.severity != OK:
                    say("doctor", when=when, text=str(each.to_wire()))


# --- Until the cut --------------------------------------------------------------------------------


def work(node: Afflicted, worker: str, chance: random.Random) -> None:
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
        say("begins", command=command, name=name)
        status, stdout = node.call(command, name, living[name].path)
        if status:
            say("wrong", text=f"{command} of {name}: {stdout.decode()}")
            return
        got = [ip["address"] for ip in json.loads(stdout)["ips"]] if command == "ADD" else []
        say("ended", command=command, name=name, status=status, addresses=got)
        if command == "DEL":
            living.pop(name).remove()


def _sysctl(name: str, value: int) -> None:
    Path("/proc/sys", name).write_text(str(value))


def prepare(asked: Mapping[str, Any], chance: random.Random) -> Afflicted:
    """Mount the disks, and make the node's links."""
    options = chance.choice(MOUNTS)
    for disk, folder in (("ubda", "/run/a"), ("ubdb", "/run/b")):
        os.makedirs(folder)
        subprocess.run(["mount", "-t", "ext4", "-o", options, f"/dev/{disk}", folder], check=True)
    # From hundredths of a second to what a node has: how much of a file is on its disk.
    _sysctl("vm/dirty_expire_centisecs", chance.choice((5, 30, 100, 3000)))
    _sysctl("vm/dirty_writeback_centisecs", chance.choice((5, 20, 500)))
    for command in (
        "ip link add uplink type veth peer name wire",
        "ip link set wire up",
        "ip link set uplink up",
    ):
        subprocess.run(command.split(), check=True)
    os.makedirs("/run/bin")
    node = Afflicted("/run/a", "/run/b" if asked["split"] else "/run/a/stores", "/run/bin")
    BinDir(node.bin).real()
    Path(_CONF).write_text(json.dumps(node.conf))
    return node


def main(order: str) -> None:
    """Recover, then work until the power is cut; *order* is JSON."""
    asked = json.loads(order)
    boot = asked["boot"]
    chance = random.Random(f"{asked['seed']} {boot}")
    # An address without a record has to be a minute old before it is freed.
    time.clock_settime(time.CLOCK_REALTIME, time.time() + 120 * (boot + 1))
    say("up", boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    node = prepare(asked, chance)
    say("mounted")
    due = list(asked["due"])
    chance.shuffle(due)
    Recovery(node, asked["held"], due, f"b{boot}fresh").run(asked["how"])
    say("recovered")
    if not asked["last"]:
        workers = [f"b{boot}w{each}" for each in range(WORKERS)]
        for each in workers:
            if os.fork() == 0:
                work(node, each, random.Random(f"{asked['seed']} {each}"))
                os._exit(1)
        os.wait()
        time.sleep(60)
    subprocess.run(["umount", "/run/a", "/run/b"], check=True)
    say("done")
