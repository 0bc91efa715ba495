"""The same histories with the daemon; the test kills its workers at any moment."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from reliability.conftest import Say
from reliability.ground import ground
from reliability.neighbours import settings
from reliability.processes import workers_of
from reliability.test_histories import NAMES, Histories, api_of, run_histories, small_disk

from integration.daemon.node import Daemon
from multus.api.jsontext import encode
from multus.cni import shim

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]


class DaemonHistories(Histories):
    """The model of :class:`Histories`; workers are killed, and the daemon continues to serve."""

    daemon: Daemon
    # The daemon's cache answers while the API server is away.
    survivable = frozenset({"disk", "api"})

    @precondition(lambda self: not self.faults)
    @rule(name=NAMES, command=st.sampled_from(["ADD", "DEL"]), pause=st.integers(0, 150))
    def kill(self, name: str, command: str, pause: int) -> None:
        """The worker is killed *pause* milliseconds after the call was sent."""
        if command == "ADD":
            self.possible[name].append(self._wanted(name))
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(self._call, command, name)
            time.sleep(pause / 1000)
            if self._kill_workers():
                self._count("worker killed")
            status, stdout = call.result()
        code = json.loads(stdout)["code"] if status else 0
        if command == "ADD" and code == 4:
            # It has its networks: an earlier worker was killed after it had finished.
            assert name in self.attached | self.dirty, stdout
            self.attached.add(name)
            self.dirty.discard(name)
            return
        if command == "ADD" and name in self.attached:
            assert code == 11, stdout
            return  # cut off before it was refused: its state is unchanged
        assert code in (0, 11), stdout
        self.attached.discard(name)
        self.dirty.discard(name)
        self.changing.discard(name)
        if code:
            self.dirty.add(name)
        elif command == "ADD":
            self.attached.add(name)

    def _kill_workers(self) -> int:
        """Kill all workers, so also the one with the call."""
        found = workers_of(self.daemon.pid)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def _call(self, command: str, name: str) -> tuple[int, bytes]:
        environ = self.base.environ(command, self._container(name))
        raw = {key.encode(): value.encode() for key, value in environ.items()}
        raw[b"MULTUS_SOCKET"] = os.fsencode(self.daemon.socket)
        answer = shim.ask(raw, encode(self.conf))
        assert not isinstance(answer, bytes), "the daemon does not serve"
        return answer

    def teardown(self) -> None:
        super().teardown()
        assert self.daemon.process is not None and self.daemon.process.poll() is None
        assert self.daemon.control("health") == (0, "ok\n")


def test_nothing_leaks_in_any_history_of_the_daemon(
    tmp_path: Path, full_size: bool, say: Say
) -> None:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root, at least of a user namespace")
    examples, steps = (100, 30) if full_size else (12, 14)
    counts: dict[str, int] = {}
    with ground(str(tmp_path)) as base, small_disk(base.cni_dir):
        with api_of(base, tmp_path) as kubeconfig:
            daemon = Daemon(tmp_path / "daemon", base.node, settings(base.cni_dir, kubeconfig))
            daemon.start()
            try:
                inherited = {
                    "base": base,
                    "kubeconfig": kubeconfig,
                    "counts": counts,
                    "daemon": daemon,
                }
                run_histories(type("Bound", (DaemonHistories,), inherited), examples, steps)
            finally:
                daemon.stop()
    counted = ", ".join(f"{count} × {what}" for what, count in sorted(counts.items()))
    say(f"histories of the daemon: {counted}")
    assert counts.get("worker killed"), "the daemon has no worker processes"
