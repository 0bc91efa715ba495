"""What the tests of the state share: a node's journal, and plugins that write down their calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contract.given import Recorder, at_work, merger, source
from unit.values import conf_of, delegate_of, request_of

from multus.api.network import Attachment
from multus.api.result import Result
from multus.engine.invoke.carrier import Carrier
from multus.engine.invoke.plan import plan
from multus.state import transaction
from multus.state.journal import Journal
from multus.state.record import Planned, Record
from multus.state.transaction import Transaction
from multus.testing.session import new_session

OWN_NETNS = f"/proc/{os.getpid()}/ns/net"


class Desk:
    """One ``cniDir``, and container c1, which is to have networks a, b and c."""

    def __init__(self, folder: Path, recorder: Recorder | None = None) -> None:
        self.recorder = recorder or Recorder()
        self.conf = conf_of(cniDir=str(folder))
        self.journal = Journal(str(folder))
        self._installed = at_work(source("x", "y"), self.recorder.plugin(), merger())

    def call(self, command: str = "ADD", **values: Any) -> Carrier:
        return Carrier(self._installed, new_session(), request_of(command, **values), self.conf)

    @contextmanager
    def begun(
        self, command: str = "ADD", patience: float = 0.0, **values: Any
    ) -> Iterator[tuple[Transaction, Carrier]]:
        call = self.call(command, **values)
        observers = call.installed.hooks.observers(call.session)
        with transaction.begin(call, observers, patience) as (made, locked):
            yield made, locked

    def planned(self, call: Carrier, names: Sequence[str] = "abc") -> tuple[Planned, ...]:
        networks = [
            delegate_of(f"{name}-net", name, ifname=f"net{place}", primary=place == 0)
            for place, name in enumerate(names)
        ]
        return plan(networks, call)

    def add(self, names: Sequence[str] = "abc", *, finish: bool = True, **values: Any) -> None:
        """Attach the networks; without *finish*, in a process that is killed before."""

        def add() -> None:
            with self.begun(**values) as (made, call):
                with made.attempt(self.planned(call, names)) as attempt:
                    attempt.attach()
                    if not finish:
                        die()
                    attempt.finish(Result())

        if finish:
            add()
        else:
            in_a_process_that_is_killed(add)

    def record(self) -> Record:
        record = self.journal.find("c1", "eth0")
        assert record is not None
        return record

    def files(self) -> list[str]:
        return sorted(name for name in os.listdir(self.journal.folder) if ":" in name)


def in_a_process_that_is_killed(work: Callable[[], object]) -> None:
    """Do *work* in a forked process, which has to end itself in the middle of it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)  # it was to end before
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


KILLED = 9


def die() -> None:
    """End this process at once, as a signal would."""
    os._exit(KILLED)


def attachment(planned: Planned, result: Result | None = None) -> Attachment:
    count = len(planned.steps)
    made = result or Result()
    return Attachment(planned.delegate, made, ("1.0.0",) * count, ("recorder",) * count)
