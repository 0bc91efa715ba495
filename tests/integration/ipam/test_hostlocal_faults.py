"""No address leaks when an ADD fails: kills, left-over files, exhausted ranges."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from multus.api.errors import AddressesExhausted, InvalidConfig, IOFailure
from multus.testing.invocation import Caller

if TYPE_CHECKING:
    from integration.ipam.conftest import Bench

DUAL = {
    "type": "host-local",
    "ranges": [[{"subnet": "10.1.0.0/29"}], [{"subnet": "fd00:1::/64"}]],
}

#: Executes one verb, and kills itself before the n-th executed line of the store's or host-local's
#: code; n is its argument.  Prints "done" when the verb ends before.
KILLED = """
import json, os, signal, sys
from multus import ipam
from multus.ipam import _hostlocal as hostlocal
from multus.ipam import store
from multus.testing.invocation import Caller

config, verb, first = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
watched = (hostlocal.__file__, store.__file__)


def attempt(steps):
    def trace(frame, event, arg):
        nonlocal steps
        if frame.f_code.co_filename not in watched:
            return None
        if event == "line":
            steps -= 1
            if steps < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    pool = ipam.for_plugin(Caller().invocation(verb, config))
    sys.settrace(trace)
    pool.add() if verb == "ADD" else pool.delete()
    os._exit(0)


print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        attempt(int(line))
    _, status = os.waitpid(pid, 0)
    print(json.dumps({"killed": os.WIFSIGNALED(status)}), flush=True)
"""


class Killer:
    """A process that executes a verb repeatedly, and is killed one step later each time."""

    def __init__(self, config: dict[str, object], verb: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", KILLED, json.dumps(config), verb, "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == {"ready": True}

    def kill_at(self, step: int) -> bool:
        """Whether it was killed; False when the verb has fewer steps."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{step}\n")
        self._process.stdin.flush()
        return bool(self._answer()["killed"])

    def _answer(self) -> dict[str, bool]:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


def _held(bench: Bench) -> dict[str, str]:
    """All files of the store, except those of the round robin."""
    files = bench.files()
    return {name: text for name, text in files.items() if not name.startswith("last_reserved_ip")}


@pytest.mark.parametrize("deleter", ["ours", "reference"])
def test_an_add_that_is_killed_at_any_step_leaves_nothing_after_del(
    bench: Bench, deleter: str
) -> None:
    config, other = bench.config(DUAL), Caller(container_id="other")
    killer, steps = Killer(config, "ADD"), 0
    try:
        while killer.kill_at(steps):
            # Another container can still get its address meanwhile.
            bench.ours.add(other, config)
            getattr(bench, deleter).delete(Caller(), config)
            assert set(_held(bench).values()) == {"other\r\neth0"}
            bench.ours.delete(other, config)
            assert _held(bench) == {}
            steps += 1
    finally:
        killer.close()
    assert steps > 100


def test_a_del_that_is_killed_at_any_step_can_be_repeated(bench: Bench) -> None:
    config = bench.config(DUAL)
    killer, steps = Killer(config, "DEL"), 0
    try:
        bench.ours.add(Caller(), config)
        while killer.kill_at(steps):
            bench.ours.delete(Caller(), config)
            assert _held(bench) == {}
            bench.ours.add(Caller(), config)
            steps += 1
    finally:
        killer.close()
    assert steps > 20


@pytest.mark.parametrize("contents", ["", "\0" * 8, "\r\n"])
def test_a_file_without_an_owner_is_freed_on_sight(bench: Bench, contents: str) -> None:
    # A reference plugin that is killed between creating the file and writing it leaves this.
    config = bench.config(DUAL)
    folder = bench.root / "shared" / "net1"
    folder.mkdir(parents=True)
    (folder / "10.1.0.2").write_bytes(contents.encode())
    assert bench.ours.add(Caller(), config)["ips"][0]["address"] == "10.1.0.2/29"
    (folder / "10.1.0.5").write_bytes(contents.encode())
    bench.ours.delete(Caller(), config)
    assert _held(bench) == {}


def test_a_range_that_runs_out_names_network_range_and_use(bench: Bench) -> None:
    config = bench.config({"type": "host-local", "subnet": "10.1.0.0/29"}, name="blue")
    for caller in bench.callers(5):
        bench.ours.add(caller, config)
    before = bench.files(name="blue")
    with pytest.raises(AddressesExhausted) as caught:
        bench.ours.add(Caller(container_id="late"), config)
    for word in ("'blue'", "10.1.0.1-10.1.0.6", "5 of 5"):
        assert word in caught.value.msg
    assert bench.files(name="blue") == before


def test_when_the_second_set_runs_out_the_first_gets_its_address_back(bench: Bench) -> None:
    pool = {
        "type": "host-local",
        "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/30"}]],
    }
    config = bench.config(pool)
    bench.ours.add(Caller(), config)
    with pytest.raises(AddressesExhausted):
        bench.ours.add(Caller(container_id="late"), config)
    assert set(_held(bench)) == {"10.1.0.2", "10.2.0.2"}


def test_a_write_that_fails_fails_the_add_and_keeps_nothing(bench: Bench) -> None:
    config = bench.config(DUAL)
    bench.ours.delete(Caller(), config)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # write(2) fails: EFBIG
    try:
        with pytest.raises(IOFailure) as caught:
            bench.ours.add(Caller(), config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(bench.root / "shared" / "net1") in caught.value.msg
    assert bench.files() == {}


def test_a_rename_that_fails_fails_the_add_and_keeps_nothing(bench: Bench) -> None:
    config = bench.config(DUAL)
    last = bench.root / "shared" / "net1" / "last_reserved_ip.1"
    last.mkdir(parents=True)  # a file cannot be renamed to it
    with pytest.raises(IOFailure):
        bench.ours.add(Caller(), config)
    last.rmdir()
    assert _held(bench) == {}


def test_del_needs_no_configuration_of_the_ranges(bench: Bench) -> None:
    config = bench.config(DUAL)
    bench.ours.add(Caller(), config)
    bench.ours.delete(Caller(), bench.config({"type": "host-local", "ranges": "spoiled"}))
    assert _held(bench) == {}


def test_what_a_killed_process_left_half_made_is_cleared_away(bench: Bench) -> None:
    config = bench.config(DUAL)
    bench.ours.add(Caller(), config)
    folder = bench.root / "shared" / "net1"
    (folder / "10.1.0.9").touch()  # killed before it was written
    bench.ours.add(Caller(container_id="other"), config)
    assert "10.1.0.9" not in bench.files()


def test_what_an_older_release_left_is_never_written_to(bench: Bench) -> None:
    config = bench.config(DUAL)
    bench.ours.add(Caller(), config)
    folder = bench.root / "shared" / "net1"
    (folder / ".new").hardlink_to(folder / "10.1.0.2")  # it was killed after linking
    bench.ours.add(Caller(container_id="other"), config)
    assert bench.files()["10.1.0.2"] == bench.files()[".new"] == "c1\r\neth0"


def test_a_folder_in_the_store_is_not_an_address(bench: Bench) -> None:
    for side in bench.sides:
        config = bench.config({"type": "host-local", "subnet": "10.1.0.0/29"}, side.name)
        folder = bench.root / side.name / "net1" / "backup"
        folder.mkdir(parents=True)
        side.add(Caller(), config)
        side.delete(Caller(), config)
        folder.rmdir()
    assert bench.files("ours") == bench.files("reference")


def test_del_without_a_store_makes_none(bench: Bench) -> None:
    bench.ours.delete(Caller(), bench.config(DUAL))
    assert not (bench.root / "shared").exists()


def test_a_network_name_that_is_a_path_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidConfig):
        bench.ours.add(Caller(), bench.config(DUAL, name="../other"))


def test_a_route_without_a_destination_is_refused(bench: Bench) -> None:
    config = bench.config({"type": "host-local", "subnet": "10.1.0.0/29", "routes": [{}]})
    with pytest.raises(InvalidConfig) as caught:
        bench.ours.add(Caller(), config)
    assert "routes[0]" in caught.value.msg
