"""A process that does not see the whole node removes nothing for which that would matter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from reliability.ground import Ground
from reliability.test_healing import aged, chained

_GC = (sys.executable, "-m", "multus", "gc", "--json", "--cni-dir")


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


@pytest.mark.parametrize("right", ["sys_admin", ""])
def test_an_address_is_kept_where_a_namespace_that_lives_cannot_be_looked_into(
    on_ground: Ground, right: str
) -> None:
    """Without the right to enter a namespace, nobody knows who has the address."""
    on_ground.done("ADD", chained(on_ground), on_ground.container("c1"))
    path = Path(on_ground.ipam_dir, "chain", "10.1.0.99")
    path.write_bytes(b"stranger\r\neth0")
    aged(path)
    lacking = ["setpriv", f"--bounding-set=-{right}", f"--inh-caps=-{right}"] if right else []
    done = subprocess.run([*lacking, *_GC, on_ground.cni_dir], capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert path.exists() == bool(right) and done.returncode == bool(right), done
    assert [each["name"] for each in report["left"]] == [f"address {path.name} of 'chain'"] * bool(
        right
    )
    assert ["cannot be looked into" in each for each in report["errors"]] == [True] * bool(right)
