"""Random histories of a node, compared with a model: nothing may leak.

ADD, DEL, CHECK and GC of several containers; commands are killed at any moment; the API server goes
away, a plugin's binary is missing, the disk is full; the node is started again, and heals itself.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from reliability.boots import Boots
from reliability.conftest import Say
from reliability.ground import Conf, Ground, ground
from reliability.moments import Family, start

from multus.api.errors import CNIError
from multus.api.kubernetes import Annotate, Deadline, PodRef
from multus.engine.assembly import engine_for
from multus.engine.changing import request_of
from multus.kube.client import KubeClient
from multus.kube.kubeconfig import load_kubeconfig
from multus.netlink import Namespace, links
from multus.state.journal import Journal
from multus.testing.runtime import Container

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

#: The networks that the pods request, and the interfaces that they get.
PODS = {
    "zero": ("", ["eth0", "net0"]),
    "one": ("plain,tuned", ["eth0", "net1", "net2", "net3"]),
    "two": ("plain,dual@second,macvlan", ["eth0", "net1", "net2", "second", "net4"]),
}
NAMES = st.sampled_from(sorted(PODS))
#: What an annotation may ask for later: each network has an interface of its own.
LATER = ("plain@p0", "dual@d0", "tuned@t0", "macvlan@m0")
ANNOTATION = "k8s.v1.cni.cncf.io/networks"


class Histories(Boots):
    """The model: ``attached`` containers, ``dirty`` ones (cut off or failed), and the faults."""

    base: Ground
    kubeconfig: str
    counts: dict[str, int]
    #: Faults with which an ADD may succeed: an earlier attempt may have left enough free space.
    survivable: frozenset[str] = frozenset({"disk"})

    def __init__(self) -> None:
        super().__init__()
        self.conf = _conf(self.base, self.kubeconfig)
        self.attached: set[str] = set()
        #: The annotation of each pod, and what its interfaces may be: an ADD that is killed may
        #: have finished, with the annotation of its time.
        self.asked = {name: wanted for name, (wanted, _) in PODS.items()}
        self.possible: dict[str, list[list[str]]] = {name: [] for name in PODS}
        #: Those whose change was cut off, or failed: they may have networks of both annotations.
        self.changing: set[str] = set()
        self.dirty: set[str] = set()
        self.faults: set[str] = set()
        self.families: list[Family] = []
        self.before = self.base.state()

    # --- Commands --------------------------------------------------------------------------------

    @rule(name=NAMES)
    def add(self, name: str) -> None:
        self._count("ADD")
        had_record = name in self.dirty
        status, stdout = self._add(name)
        if _is_refused(status, stdout):
            assert name in self.attached | self.dirty, stdout
            self.attached.add(name)
            self.dirty.discard(name)
            return
        assert name not in self.attached
        self.dirty.discard(name)
        if status == 0:
            assert not self.faults - self.survivable, self.faults
            self.attached.add(name)
            result = json.loads(stdout)
            assert [ip["interface"] for ip in result["ips"]] == [1]
        else:
            error = json.loads(stdout)
            assert self.faults, error
            assert error["code"] in (5, 11, 106), error
            if self._record(name):
                assert had_record, error
                self.dirty.add(name)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self._count("DEL")
        had_record = self._record(name)
        status, stdout = self._call("DEL", name)
        self.attached.discard(name)
        self.dirty.discard(name)
        self.changing.discard(name)
        if "binary" not in self.faults:
            assert status == 0, stdout
        if status:
            assert "'bridge'" in json.loads(stdout)["msg"], stdout
            assert self._record(name) == had_record
            if had_record:
                self.dirty.add(name)
        else:
            assert not self._record(name)

    @rule(name=NAMES)
    def check(self, name: str) -> None:
        self._count("CHECK")
        status, stdout = self._call("CHECK", name)
        if name in self.dirty and status == 0:
            # It was killed after it had finished, or before it undid anything.
            self.dirty.remove(name)
            self.attached.add(name)
        elif name not in self.attached:
            assert status == 1 and json.loads(stdout)["code"] in (3, 7, 102, 106), stdout
        elif "binary" not in self.faults:
            assert status == 0, stdout

    @rule()
    def collect(self) -> None:
        self._count("GC")
        valid = [self._container(name) for name in sorted(self.attached)]
        status, stdout = self.base.call("GC", self.base.collecting(self.conf, valid))
        if "binary" not in self.faults:
            assert status == 0, stdout
            # GC skips a container on which a plugin of a killed program still works.
            self.dirty = {name for name in self.dirty if self._record(name)}

    @rule(name=NAMES, wanted=st.sets(st.sampled_from(LATER)))
    def change(self, name: str, wanted: set[str]) -> None:
        """The annotation of a pod changes; when it runs, somebody looks at it."""
        if "api" in self.faults:
            return
        self._count("change")
        self._annotate(name, ",".join(sorted(wanted)))
        if name not in self.attached:
            return
        wrong = look(self.base, name)
        if wrong:
            assert self.faults, wrong
            self.changing.add(name)
        else:
            self._is_changed(name)

    @precondition(lambda self: not self.faults)
    @rule(
        name=NAMES,
        wanted=st.sets(st.sampled_from(LATER)),
        moment=st.integers(1, 160),
        whole=st.booleans(),
    )
    def kill_change(self, name: str, wanted: set[str], moment: int, whole: bool) -> None:
        if name not in self.attached:
            return
        self._count("change killed")
        self._annotate(name, ",".join(sorted(wanted)))
        family = start(lambda: len(look(self.base, name)))
        run = family.run(moment, whole=whole)
        if run.killed:
            self.changing.add(name)
            if not whole:
                self.families.append(family)
        else:
            assert run.status == 0, run.stderr
            self._is_changed(name)

    @precondition(lambda self: not self.faults)
    @rule(
        name=NAMES,
        command=st.sampled_from(["ADD", "DEL"]),
        moment=st.integers(1, 320),
        whole=st.booleans(),
    )
    def kill(self, name: str, command: str, moment: int, whole: bool) -> None:
        self._count("killed")
        family = self.base.supervised(command, self.conf, self._container(name))
        if command == "ADD":
            self.possible[name].append(self._wanted(name))
        run = family.run(moment, whole=whole)
        if command == "ADD" and name in self.attached:
            assert run.killed or _is_refused(run.status, run.stdout), run.stdout
            if run.killed and not whole:
                self.families.append(family)
            return  # refused, or cut off before: its state is unchanged
        self.attached.discard(name)
        self.dirty.discard(name)
        self.changing.discard(name)
        if run.killed:
            self.dirty.add(name)
            if not whole:
                self.families.append(family)
        else:
            assert run.status == 0 or _is_refused(run.status, run.stdout), run.stdout
            if command == "ADD":
                self.attached.add(name)

    # --- Faults ----------------------------------------------------------------------------------

    @rule(fault=st.sampled_from(["api", "binary", "disk"]))
    def breaks(self, fault: str) -> None:
        if fault in self.faults:
            self._mend(fault)
            return
        self._count(f"no {fault}")
        self._outlive()
        self.faults.add(fault)
        if fault == "api":
            self.base.node.ip("link", "set", "lo", "down")
        elif fault == "binary":
            os.rename(f"{self.base.bin.path}/bridge", f"{self.base.bin.path}/away")
        else:
            _fill(f"{self.base.cni_dir}/.filler")

    @precondition(lambda self: bool(self.faults))
    @rule()
    def mend(self) -> None:
        for fault in sorted(self.faults):
            self._mend(fault)

    def _mend(self, fault: str) -> None:
        self.faults.remove(fault)
        if fault == "api":
            self.base.node.ip("link", "set", "lo", "up")
        elif fault == "binary":
            os.rename(f"{self.base.bin.path}/away", f"{self.base.bin.path}/bridge")
        else:
            os.unlink(f"{self.base.cni_dir}/.filler")

    # --- Invariants ------------------------------------------------------------------------------

    @invariant()
    def pods_have_what_they_should(self) -> None:
        for name in PODS:
            found = _interfaces(self.base, name)
            if name in self.attached - self.changing:
                assert found in self.possible[name], (name, self.possible[name])
            elif name not in self.attached | self.dirty:
                assert found == [], name

    def teardown(self) -> None:
        self.mend()
        for name, (wanted, _) in PODS.items():
            status, stdout = self._call("DEL", name)
            assert status == 0, stdout
            self._annotate(name, wanted)
        self._outlive()
        left = self.before.difference(self.base.state())
        # The Go host-local leaves it when it is killed between creating and writing the file.
        assert [fact for fact in left if not fact.startswith("+ empty file")] == []
        for fact in left:
            os.unlink(fact.rpartition(" ")[2])

    # --- Helpers ---------------------------------------------------------------------------------

    def _add(self, name: str) -> tuple[int, bytes]:
        status, stdout = self._call("ADD", name)
        if status == 0:
            self.possible[name] = [self._wanted(name)]
        return status, stdout

    def _wanted(self, name: str) -> list[str]:
        """The interfaces that an ADD makes now, sorted."""
        asked = self.asked[name]
        if asked == PODS[name][0]:
            return sorted(PODS[name][1])
        own = [each.partition("@")[2] for each in asked.split(",") if each]
        return sorted(["eth0", "net1" if own else "net0", *own])

    def _is_changed(self, name: str) -> None:
        """A change succeeded: the node's own networks keep the names that they had."""
        self.changing.discard(name)
        own = [each.partition("@")[2] for each in self.asked[name].split(",") if each]
        default = "net0" if "net0" in _interfaces(self.base, name) else "net1"
        self.possible[name] = [sorted(["eth0", default, *own])]

    def _annotate(self, name: str, wanted: str) -> None:
        if wanted == self.asked[name]:
            return
        client = KubeClient(load_kubeconfig(self.kubeconfig), "n1")
        write = Annotate(PodRef("default", name, ""), {ANNOTATION: wanted or None})
        client.carry_out(write, Deadline.after(30))
        client.close()
        self.asked[name] = wanted

    def _call(self, command: str, name: str) -> tuple[int, bytes]:
        return self.base.call(command, self.conf, self._container(name))

    def _container(self, name: str) -> Container:
        args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name}"
        return evolve(self.base.container(name), args=args)

    def _record(self, name: str) -> bool:
        return os.path.exists(f"{self.base.cni_dir}/{name}:eth0")

    def _outlive(self) -> None:
        for family in self.families:
            family.outlive()
        self.families.clear()

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1


def look(base: Ground, name: str) -> list[str]:
    """Change a running pod as its annotation asks for it; what went wrong."""
    record = Journal(base.cni_dir).find(name, "eth0")
    assert record is not None
    request, conf = request_of(record, base.environ("ADD", None))
    try:
        changes = engine_for(conf).change(request, conf)
    except CNIError as error:
        return [str(error)]
    return [str(each.error) for each in changes.refused]


def test_nothing_leaks_in_any_history(tmp_path: Path, full_size: bool, say: Say) -> None:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root, at least of a user namespace")
    examples, steps = (100, 30) if full_size else (12, 14)
    counts: dict[str, int] = {}
    with ground(str(tmp_path)) as base, small_disk(base.cni_dir):
        with api_of(base, tmp_path) as kubeconfig:
            inherited = {"base": base, "kubeconfig": kubeconfig, "counts": counts}
            run_histories(type("Bound", (Histories,), inherited), examples, steps)
    say(f"histories: {', '.join(f'{count} × {what}' for what, count in sorted(counts.items()))}")
    assert counts["ADD"]
    # Each history has some of the verbs: a few histories may lack one.
    assert not full_size or {"killed", "reboot", "heal", "change"} <= set(counts)


def run_histories(machine: type[Histories], examples: int, steps: int) -> None:
    """Try *examples* histories of up to *steps* steps."""
    _warm_up(machine)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            # Shrinking would take minutes: the failing history is printed unchanged.
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def _warm_up(machine: type[Histories]) -> None:
    """Create what the first call creates and later ones reuse."""
    history = machine()
    for name in PODS:
        history.add(name)
        history.delete(name)


def _is_refused(status: int, stdout: bytes) -> bool:
    """Whether an ADD fails because the container has its networks, and needs a DEL first."""
    return bool(status) and json.loads(stdout)["code"] == 4


def _conf(base: Ground, kubeconfig: str) -> Conf:
    defaults: list[dict[str, Any]] = [
        {"name": "masq", "type": "ptp", "ipMasq": True, "ipam": base.ipam(1)},
        {"name": "br", "type": "bridge", "bridge": "br0", "ipam": base.ipam(5)},
    ]
    defaults[1]["invoker"] = "exec"
    # In-process for the tenants' networks that name these folders; others run the binaries.
    open_to_tenants = {"dataDir": [_own(base), base.tuning_dir]}
    return {**base.conf(*defaults), "kubeconfig": kubeconfig, "tenantPaths": open_to_tenants}


def _own(base: Ground) -> str:
    return f"{base.ipam_dir}/own"


@contextmanager
def api_of(base: Ground, folder: Path) -> Iterator[str]:
    """An API server on the node's loopback; yields the path of a kubeconfig.

    In its own process: its threads could hold OpenSSL's locks during a fork.
    """
    objects = folder / "objects.json"
    objects.write_text(json.dumps({"items": list(_objects(base))}))
    command = [sys.executable, "-m", "multus.testing.apiserver", "--directory", str(folder)]
    process = subprocess.Popen([*command, "--objects", str(objects)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline()
        yield str(folder / "kubeconfig")
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _objects(base: Ground) -> Iterator[dict[str, Any]]:
    bridge = {"type": "bridge", "bridge": "cni6", "isGateway": True, "ipMasq": True}
    bridge["ipam"] = {**base.ipam(6), "dataDir": _own(base)}
    tuning = {"type": "tuning", "mtu": 1400, "dataDir": base.tuning_dir}
    macvlan = {"type": "macvlan", "master": "uplink"}
    networks: dict[str, dict[str, Any]] = {
        "plain": {"type": "ptp", "ipam": base.ipam(3)},
        "dual": {"type": "ptp", "ipam": base.ipam(4, 4)},
        "tuned": {"plugins": [bridge, tuning]},
        "macvlan": {**macvlan, "ipam": {**base.ipam(7), "dataDir": _own(base)}},
    }
    for name, config in networks.items():
        whole = {"cniVersion": "1.0.0", "name": name, **config}
        yield {
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"config": json.dumps(whole)},
        }
    for name, (wanted, _) in PODS.items():
        annotations = {ANNOTATION: wanted} if wanted else {}
        metadata = {"name": name, "namespace": "default", "annotations": annotations}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}}


def _interfaces(base: Ground, name: str) -> list[str]:
    with Namespace(base.container(name).netns) as namespace, namespace.channel() as channel:
        return sorted(link.name for link in links.list_all(channel) if link.name != "lo")


@contextmanager
def small_disk(folder: str) -> Iterator[None]:
    os.makedirs(folder, mode=0o700)
    options = "size=128k,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def _fill(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        while os.write(descriptor, bytes(4096)):
            pass
    except OSError as error:
        assert error.errno == errno.ENOSPC
    finally:
        os.close(descriptor)
