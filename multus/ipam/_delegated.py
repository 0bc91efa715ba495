"""IPAM by an IPAM plugin's binary: every type that is not served in-process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from multus.api.errors import CNIError, IncompatibleVersion, NotStarted
from multus.api.execute import Executor
from multus.api.ipam import Ipam
from multus.api.jsontext import encode
from multus.api.result import Result
from multus.api.versions import at_least, highest_common

if TYPE_CHECKING:
    from multus.api.network import Invocation


@frozen
class Delegated(Ipam):
    """Runs the binary that ``ipam.type`` names, with the plugin's whole configuration.

    Source: CNI specification 1.1.0, section 4, "Plugin Delegation".
    """

    invocation: Invocation
    type: str
    reason: str = ""
    name = "exec"

    def prepare(self) -> None:
        with self._explained():
            self._executor(self.invocation).find(self.type)

    def add(self) -> Result:
        try:
            return Result.from_wire(self._run("ADD"))
        except CNIError as error:
            # It may have reserved an address before it failed: section 4, "Execution".
            try:
                self._run("DEL")
            except CNIError as second:
                raise error.detailed(f"then DEL: {second}") from error
            raise

    def delete(self) -> None:
        self._run("DEL")

    def check(self) -> None:
        if at_least(self.invocation.cni_version, "0.4.0"):
            self._run("CHECK")

    def status(self) -> None:
        if at_least(self.invocation.cni_version, "1.1.0"):
            self._run("STATUS")

    def gc(self) -> None:
        if at_least(self.invocation.cni_version, "1.1.0"):
            self._run("GC")

    def _run(self, command: str) -> Any:
        invocation = evolve(self.invocation, verb=command)
        try:
            return self._call(invocation)
        except IncompatibleVersion:
            # The IPAM plugin may not know the version that the invoker speaks.
            asked = self._call(evolve(invocation, verb="VERSION"))
            known = asked.get("supportedVersions") if isinstance(asked, dict) else None
            version = highest_common(known or ())
            if version is None or version == invocation.cni_version:
                raise
        return self._call(invocation.at(version))

    def _call(self, invocation: Invocation) -> Any:
        executor, seconds = self._executor(invocation), self._seconds(invocation.verb)
        stdin = encode(invocation.wire())
        with self._explained():
            return executor.call(self.type, stdin, invocation.environ(), seconds)[0]

    def _executor(self, invocation: Invocation) -> Executor:
        return Executor(
            invocation.folders(), invocation.session.chroot, inherited=invocation.inherited
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Add to the error of a missing binary why the type is not served in-process."""
        try:
            yield
        except NotStarted as error:
            if not self.reason:
                raise
            needed = f"the binary is needed because of {self.reason}"
            raise error.detailed(needed) from error

    def _seconds(self, command: str) -> float:
        """How long the binary may run: as long as the caller waits, longer to clean up."""
        limit = self.invocation.conf.delegate_timeout
        return limit if command == "DEL" else self.invocation.session.remaining(limit)
