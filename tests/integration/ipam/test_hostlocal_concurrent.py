"""Many containers at once on one range: no address is assigned twice or leaked, by either side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from waiting import eventually

from multus.api.errors import AddressesExhausted
from multus.ipam import store
from multus.testing.invocation import Caller

if TYPE_CHECKING:
    from integration.ipam.conftest import Bench, Side

POOL = {"type": "host-local", "subnet": "10.1.0.0/24", "ranges": [[{"subnet": "fd00:1::/64"}]]}
CONTAINERS = 50

#: Executes one verb for the containers in its arguments, after a start signal.
WORKER = """
import json, sys
from multus import ipam
from multus.testing.invocation import Caller

config, verb = json.loads(sys.argv[1]), sys.argv[2]
pools = [
    ipam.for_plugin(Caller(container_id=name).invocation(verb, config)) for name in sys.argv[3:]
]
print("ready", flush=True)
sys.stdin.readline()
for pool in pools:
    if verb == "ADD":
        print(json.dumps(pool.add().to_wire("1.0.0")), flush=True)
    else:
        pool.delete()
"""


@pytest.fixture(autouse=True)
def _queue_for_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a slow machine, those who come before one take longer than it would wait.
    monkeypatch.setattr(store, "PATIENCE", 600.0)


def _addresses(results: list[dict[str, Any]]) -> list[str]:
    return [ip["address"] for result in results for ip in result["ips"]]


def _left(bench: Bench) -> list[str]:
    return [name for name in bench.files() if not name.startswith("last_reserved_ip")]


def _in_processes(config: dict[str, Any], verb: str, callers: list[Caller]) -> list[dict[str, Any]]:
    names = [caller.container_id for caller in callers]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, json.dumps(config), verb, *names[start::10]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for start in range(10)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    outputs = [worker.communicate(timeout=60)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 10
    return [json.loads(line) for output in outputs for line in output.splitlines()]


def test_fifty_threads_get_fifty_addresses_and_give_them_back(bench: Bench) -> None:
    config, callers = bench.config(POOL), bench.callers(CONTAINERS)
    with ThreadPoolExecutor(CONTAINERS) as threads:
        results = list(threads.map(lambda caller: bench.ours.add(caller, config), callers))
        assert len(set(_addresses(results))) == 2 * CONTAINERS
        assert len(_left(bench)) == 2 * CONTAINERS
        list(threads.map(lambda caller: bench.ours.delete(caller, config), callers))
    assert _left(bench) == []


def test_fifty_containers_in_processes_get_fifty_addresses(bench: Bench) -> None:
    config, callers = bench.config(POOL), bench.callers(CONTAINERS)
    results = _in_processes(config, "ADD", callers)
    assert len(set(_addresses(results))) == 2 * CONTAINERS
    assert len(_left(bench)) == 2 * CONTAINERS
    _in_processes(config, "DEL", callers)
    assert _left(bench) == []


def test_ours_and_the_reference_share_one_range_at_the_same_time(bench: Bench) -> None:
    config, callers = bench.config(POOL), bench.callers(CONTAINERS)

    def side(index: int) -> Side:
        return bench.sides[index % 2]

    with ThreadPoolExecutor(16) as threads:
        indexed = list(enumerate(callers))
        results = list(threads.map(lambda each: side(each[0]).add(each[1], config), indexed))
        assert len(set(_addresses(results))) == 2 * CONTAINERS
        # The other one deletes.
        list(threads.map(lambda each: side(each[0] + 1).delete(each[1], config), indexed))
    assert _left(bench) == []


def test_adds_and_dels_at_once_never_share_an_address(bench: Bench) -> None:
    # The range is small, so that addresses are reused at once.
    config = bench.config({"type": "host-local", "subnet": "10.1.0.0/28"})
    rounds = 40
    owners: dict[str, Caller] = {}

    def live(index: int) -> int:
        done = 0
        for turn in range(rounds):
            caller = Caller(container_id=f"c{index}-{turn}")
            try:
                address = bench.ours.add(caller, config)["ips"][0]["address"]
            except AddressesExhausted:
                continue
            assert owners.setdefault(address, caller) == caller
            os.sched_yield()
            assert owners.pop(address) == caller
            bench.ours.delete(caller, config)
            done += 1
        return done

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(live, range(8))) == 8 * rounds
    assert _left(bench) == []


def test_of_many_that_want_the_last_address_one_gets_it(bench: Bench) -> None:
    config = bench.config({"type": "host-local", "subnet": "10.1.0.0/30"})

    def attempt(caller: Caller) -> bool:
        try:
            bench.ours.add(caller, config)
        except AddressesExhausted:
            return False
        return True

    with ThreadPoolExecutor(20) as threads:
        assert sum(threads.map(attempt, bench.callers(20))) == 1
    assert _left(bench) == ["10.1.0.2"]


def test_a_directory_that_was_removed_while_its_lock_was_waited_for_is_none(tmp_path: Path) -> None:
    made = store.Store(str(tmp_path / "net1"))
    seen = []

    def wait() -> None:
        with made.locked(create=False) as ledger:
            seen.append(ledger)

    with made.locked(create=True):
        thread = threading.Thread(target=wait)
        thread.start()
        lock = tmp_path / "net1" / "lock"
        opened = Path("/proc/self/fd")
        eventually(lambda: [os.path.realpath(fd) for fd in opened.iterdir()].count(str(lock)) == 2)
        lock.unlink()
        (tmp_path / "net1").rmdir()
    thread.join()
    assert seen == [None]
