"""Addresses of the cluster whose pods are gone: one daemon of the cluster frees them.

A DEL frees an address.  What no DEL has freed, because a node is gone with its pods for instance,
is found by comparing the plugins' ranges with the pods (``multus.healing.addresses``).  The daemon
that holds a lease does so, every ``healMinutes``.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from multus.api.conf import Conf
from multus.api.kubernetes import ApiFailure, Deadline
from multus.api.session import Session
from multus.healing.addresses import Freed, free, suspects
from multus.kube.leases import take

if TYPE_CHECKING:
    from collections.abc import Callable

    from multus.daemon.settings import Settings
    from multus.kube.nodeapi import NodeApi
    from multus.log import Log
    from multus.registry.hooks import Hooks

LEASE = "multus-addresses"
#: The time for taking the lease, and for reading the ranges; seconds.
_SECONDS = 30.0
#: A lease lasts for so many rounds.
_ROUNDS = 3


class Reconciling:
    """A thread that frees addresses of pods that were gone in two looks.

    *api_of* returns the API server to look at, None while none is known.
    """

    def __init__(
        self,
        settings: Settings,
        hooks: Hooks,
        api_of: Callable[[], NodeApi | None],
        log: Log,
    ) -> None:
        self._settings, self._hooks, self._api_of, self._log = settings, hooks, api_of, log
        self._seen: dict[tuple[str, ...], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciling", daemon=True)

    def start(self) -> None:
        """Begin, unless the settings say never, or no plugin has ranges."""
        if self._settings.heal_seconds and self._hooks.parts("multus_allocations"):
            self._thread.start()

    def close(self) -> None:
        """Begin no further round; returns at once."""
        self._stop.set()

    def _run(self) -> None:
        told = False
        # Not all nodes of a cluster that starts at once.
        while not self._stop.wait(self._settings.heal_seconds * random.uniform(0.8, 1.2)):
            try:
                self.look()
                told = False
            except Exception as error:  # noqa: BLE001  no exception may end the thread
                # Without pools, or the right to see them, each round would say the same.
                lasts = isinstance(error, ApiFailure) and error.lasts
                if not (lasts and told):
                    self._log.error(
                        "addresses of pods that are gone cannot be looked for", error=error
                    )
                told = lasts

    def look(self) -> None:
        """One round: free what an earlier one has seen too.

        Raises an error of the API server; one that is about some owners alone, at the end.
        """
        api, settings = self._api_of(), self._settings
        if api is None:
            return
        lasting = _ROUNDS * settings.heal_seconds
        if not take(api.client, LEASE, settings.node, lasting, Deadline.after(_SECONDS)):
            self._seen.clear()
            return
        raw = {"name": "multus", "type": "multus", "cniDir": settings.cni_dir}
        with Session(self._log, api=api.client, deadline=time.monotonic() + _SECONDS) as session:
            ranges = self._hooks.allocations(Conf.from_wire(raw), session)
        now = time.monotonic()
        seen = suspects(ranges, api.client)
        found = {each.key: each for each in seen.suspects}
        self._seen = {key: self._seen.get(key, now) for key in found}
        due = [found[key] for key, since in self._seen.items() if now - since >= self._grace]
        for done in free(due, api.client):
            self._tell(done)
        if seen.problems:
            raise seen.problems[0]

    def _tell(self, done: Freed) -> None:
        address, name = done.suspect.allocation.address, done.suspect.range.name
        if done.problem:
            self._log.error(f"address {address} is not freed", range=name, error=done.problem)
        elif done.kept:
            self._log.verbose(f"address {address} is not freed: {done.kept}", range=name)
        else:
            self._log.notice(f"freed address {address}: {done.suspect.reason}", range=name)

    @property
    def _grace(self) -> float:
        # A look of before: the same one never frees.
        return max(self._settings.heal_grace, 0.001)
