"""The reference IPAM plugins and the in-process ones, with a common interface."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
from attrs import evolve, frozen

from multus import ipam
from multus.api.errors import CNIError
from multus.api.network import Invocation
from multus.api.result import Result
from multus.testing.delegates import SYSTEM_FOLDERS
from multus.testing.invocation import Caller
from multus.testing.runtime import CallFailed, Container, Runtime

Json = Mapping[str, Any]


class Side(Protocol):
    """The interface of both implementations."""

    @property
    def name(self) -> str: ...

    def add(self, caller: Caller, config: Json) -> dict[str, Any]: ...

    def delete(self, caller: Caller, config: Json) -> None: ...

    def check(self, caller: Caller, config: Json, result: Json | None = None) -> None: ...


@frozen
class Ours:
    """In-process."""

    name: str = "ours"

    def add(self, caller: Caller, config: Json) -> dict[str, Any]:
        invocation = caller.invocation("ADD", config)
        return self._pool(invocation).add().to_wire(invocation.cni_version)

    def delete(self, caller: Caller, config: Json) -> None:
        self._pool(caller.invocation("DEL", config)).delete()

    def check(self, caller: Caller, config: Json, result: Json | None = None) -> None:
        previous = None if result is None else Result.from_wire(result)
        self._pool(caller.invocation("CHECK", config, previous)).check()

    def _pool(self, invocation: Invocation) -> ipam.Ipam:
        pool = ipam.for_plugin(invocation)
        assert pool is not None and pool.name == invocation.config["ipam"]["type"]
        return pool


@frozen
class Reference:
    """The binaries of containernetworking-plugins."""

    name: str = "reference"

    def add(self, caller: Caller, config: Json) -> dict[str, Any]:
        return self._runtime(config).add(config, self._container(caller)).result

    def delete(self, caller: Caller, config: Json) -> None:
        self._runtime(config).delete(config, self._container(caller)).require()

    def check(self, caller: Caller, config: Json, result: Json | None = None) -> None:
        self._runtime(config).check(config, self._container(caller), result).require()

    def _runtime(self, config: Json) -> Runtime:
        kind = config["ipam"]["type"]
        for folder in SYSTEM_FOLDERS:
            if os.access(f"{folder}/{kind}", os.X_OK):
                return Runtime((f"{folder}/{kind}",), ":".join(SYSTEM_FOLDERS))
        pytest.skip(f"no reference plugin {kind!r} on this machine")

    def _container(self, caller: Caller) -> Container:
        return Container(caller.netns, caller.container_id, caller.ifname, caller.args)


@frozen
class Bench:
    """Both sides, configurations, and the contents of the stores."""

    root: Path
    ours: Side = Ours()
    reference: Side = Reference()

    #: The errors that a side raises when it refuses.
    refusals: tuple[type[Exception], ...] = (CNIError, CallFailed)

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.ours, self.reference

    def config(
        self, pool: Json, store: str = "shared", name: str = "net1", **more: Any
    ) -> dict[str, Any]:
        """A configuration with this ``ipam``, whose host-local store is *store*."""
        whole = dict(pool)
        if whole["type"] == "host-local":
            whole["dataDir"] = str(self.root / store)
        return {"cniVersion": "1.0.0", "name": name, "type": "ptp", "ipam": whole, **more}

    def files(self, store: str = "shared", name: str = "net1") -> dict[str, str]:
        """A store's files and their contents, without the lock."""
        folder = self.root / store / name
        if not folder.exists():
            return {}
        files = (each for each in sorted(folder.iterdir()) if each.name != "lock")
        return {each.name: each.read_bytes().decode() for each in files}

    def outcome(self, side: Side, caller: Caller, config: Json) -> dict[str, Any] | str:
        """ADD's result, or "refused"."""
        try:
            return side.add(caller, config)
        except self.refusals:
            return "refused"

    def callers(self, count: int, **same: Any) -> list[Caller]:
        return [evolve(Caller(**same), container_id=f"c{index}") for index in range(count)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
