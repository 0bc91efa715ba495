"""What healing does not see is not gone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from reliability.ground import Ground
from reliability.test_healing import aged, chained, planned, rewritten

from integration.kube.kubelet import Sandboxes
from multus.api import progress
from multus.healing.witness import of_runtime


def test_a_folder_of_namespaces_that_is_not_seen_says_nothing(on_ground: Ground) -> None:
    """As in a container that does not have the node's /run/netns."""
    on_ground.done("ADD", chained(on_ground), on_ground.container("c1"))
    hidden = "/run/netns-of-another/pod"
    rewritten(Path(on_ground.cni_dir, "c1:eth0"), netns=hidden)
    assert planned(on_ground).remove == ()


def test_a_process_that_does_not_see_the_nodes_processes_says_nothing_of_them() -> None:
    """As in the daemon's pod without hostPID, where a path under /proc is another process's."""
    code = (
        "from multus.api.request import Request\n"
        "from multus.healing.look import why_gone\n"
        "from multus.state.record import Record, restored\n"
        "asked = restored(Request('DEL', 'c1', ifname='eth0'), '/proc/99999/ns/net', (), '')\n"
        "print(repr(why_gone(Record('/nowhere', asked, netns_identity='4:5'))))\n"
    )
    argv = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    assert subprocess.run(argv, check=True, capture_output=True, text=True).stdout == "''\n"


@pytest.mark.parametrize(
    "less",
    [
        ["unshare", "--pid", "--fork", "--mount-proc"],
        ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"],
        ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"],
    ],
    ids=["processes", "rights to processes", "rights to enter"],
)
def test_without_every_namespace_nothing_is_called_nobodys(
    on_ground: Ground, less: list[str]
) -> None:
    """A container of another program may have the address in one that is not seen."""
    on_ground.done("ADD", chained(on_ground), on_ground.container("c1"))
    path = Path(on_ground.ipam_dir, "chain", "10.1.0.99")
    path.write_bytes(b"stranger\r\neth0")
    aged(path)
    code = (
        "import sys\n"
        "from multus.healing.look import Places, look\n"
        "from multus.healing.plan import plan\n"
        "made = plan(look(Places(sys.argv[1:2], addresses=sys.argv[2], results='/none')))\n"
        "print(made.remove, [each.name for each in made.left])\n"
    )
    apart = subprocess.Popen(["unshare", "--net", "sleep", "60"])
    try:
        argv = [*less, sys.executable, "-c", code, on_ground.cni_dir, on_ground.ipam_dir]
        done = subprocess.run(argv, check=True, capture_output=True, text=True)
    finally:
        apart.kill()
        apart.wait()
    assert done.stdout == "() [\"address 10.1.0.99 of 'chain'\"]\n"


def test_a_container_of_the_runtimes_cache_lives_unless_its_namespace_would_be_seen(
    tmp_path: Path,
) -> None:
    """Its namespace is under /proc, as with cri-dockerd; Multus came to the node after it."""
    for name, netns in (("c1", "/proc/999999999/ns/net"), ("c2", str(tmp_path / "gone"))):
        entry = {"kind": "cniCacheV1", "containerId": name, "netns": netns}
        path = tmp_path / f"front-{name}-eth0"
        path.write_text(json.dumps({**entry, "result": {"cniVersion": "1.0.0"}}))
        path.chmod(0o600)
    code = f"from multus.healing import witness; print(*witness.of_cache({str(tmp_path)!r}))"
    argv = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    assert subprocess.run(argv, check=True, capture_output=True, text=True).stdout == "c1\n"


def test_waiting_for_the_runtime_is_not_the_workers_own_time(tmp_path: Path) -> None:
    """So the supervisor does not call the worker blocked."""
    shown: list[tuple[str, bool]] = []

    class Board:
        patience = 1.0

        def show(self, current: progress.step | None) -> None:
            if current is not None:
                shown.append((current.what, current.waits))

    with Sandboxes(f"{tmp_path}/cri", ["c1"]) as runtime:
        progress.watched_by(Board())
        try:
            assert of_runtime(runtime.path) == {"c1"}
        finally:
            progress.watched_by(None)
    assert shown == [("the container runtime", True)]
