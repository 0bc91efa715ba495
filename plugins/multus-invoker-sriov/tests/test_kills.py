"""A process is killed during an ADD or a DEL: the next DEL restores everything."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import multus_invoker_sriov
import pytest
from attrs import evolve

from multus import ipam
from multus.api.network import Invocation
from multus.inprocess import devices
from multus.testing.netns import Netns

if TYPE_CHECKING:
    from conftest import Bench

#: The files whose lines are the steps.
STEPS = [
    *(
        str(Path(multus_invoker_sriov.__file__).with_name(name))
        for name in ("invoker.py", "host.py", "netdev.py", "sysfs.py")
    ),
    devices.__file__,
    str(Path(ipam.__file__).with_name("_hostlocal.py")),
]
RANGE = {"type": "host-local", "subnet": "10.1.0.0/24"}
DPDK = {"kernel_driver": "iavf", "dpdk_driver": "vfio-pci"}


def killed_at(step: int, bench: Bench, verb: str, invocation: Invocation) -> bool:
    """Carry the verb out in a process of its own that is killed before that line of code.

    False when there are no so many lines: it ended by itself.
    """
    pid = os.fork()
    if not pid:
        _run(step, bench, verb, invocation)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _run(step: int, bench: Bench, verb: str, invocation: Invocation) -> None:
    left = step

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in STEPS:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    status = 1
    try:
        sys.settrace(trace)
        if verb == "ADD":
            bench.invoker.add(invocation)
        else:
            bench.invoker.delete_one(invocation)
        status = 0
    finally:
        os._exit(status)


def _driver(bench: Bench) -> str:
    return os.path.basename(os.readlink(f"{bench.card.path(0)}/driver"))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("keys", [{"ipam": RANGE, "mac": "02:00:00:00:00:aa"}, {"dpdk": DPDK}])
def test_an_add_that_is_killed_is_undone_by_del(
    bench: Bench, keys: dict[str, Any], full_size: bool
) -> None:
    which = {"if0": "enp2s0"} if "dpdk" in keys else {}
    config = bench.config(vlan=100, **which, **keys)
    before, step, stride = bench.snapshot(), 0, 1 if full_size else 5
    while killed_at(step, bench, "ADD", bench.invocation("ADD", config)):
        bench.delete(config)
        assert bench.snapshot() == before, step
        assert bench.pod.links() == {}, step
        assert bench.files() == [], step
        assert _driver(bench) == "iavf", step
        assert _vlan(bench) == 0, step
        step += stride
    assert step > 60
    bench.delete(config)
    assert bench.files() == []


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_del_that_is_killed_is_finished_by_the_next(bench: Bench, full_size: bool) -> None:
    config = bench.config(vlan=100, ipam=RANGE, mac="02:00:00:00:00:aa")
    before, step, stride = bench.snapshot(), 0, 1 if full_size else 5
    bench.add(config)
    while killed_at(step, bench, "DEL", bench.invocation("DEL", config)):
        bench.delete(config)
        assert bench.snapshot() == before, step
        assert bench.files() == [], step
        assert _vlan(bench) == 0, step
        bench.add(config)
        step += stride
    assert step > 40
    assert bench.snapshot() == before


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_next_add_restores_a_vf_that_no_del_returned(bench: Bench, full_size: bool) -> None:
    # The killed process' container is gone for good, with its namespace.
    config, step, stride = bench.config(vlan=100), 0, 3 if full_size else 20

    while True:
        dead = Netns.create("dead")
        invocation = bench.caller("dead", "net9").invocation("ADD", config)
        invocation = evolve(invocation, request=evolve(invocation.request, netns=dead.path))
        killed = killed_at(step, bench, "ADD", invocation)
        dead.remove()
        if "enp2s0v0" not in bench.node.links():
            # The kernel would return a real one; the stand-in was deleted with its namespace.
            bench.node.ip("link", "add", "enp2s0v0", "type", "veth", "peer", "name", f"x{step}")
        bench.add(bench.config(trust="on"))
        assert _vlan(bench) == 0, step
        bench.delete(bench.config())
        assert "enp2s0v0" in bench.node.links()
        bench.invoker.delete_one(invocation)
        assert bench.files() == [], step
        if not killed:
            break
        step += stride
    assert step > 40


def _vlan(bench: Bench) -> int:
    from multus_invoker_sriov import vf

    pf = bench.node.links()["enp2s0"].index
    state = vf.read(bench.card.port.ask(pf), 0)
    assert state is not None
    return state.vlan
