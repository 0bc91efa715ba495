"""IPAM by a plugin's binary: every type that is not served in-process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.errors import CNIError
from multus.execute import Executor
from multus.ipam.base import Ipam
from multus.jsontext import encode
from multus.model.result import Result
from multus.model.versions import at_least

if TYPE_CHECKING:
    from multus.model.network import Invocation


@frozen
class Delegated(Ipam):
    """Runs the binary that ``ipam.type`` names, with the plugin's whole configuration.

    Source: CNI specification 1.1.0, section 4, "Plugin Delegation".
    """

    invocation: Invocation
    type: str
    reason: str = ""
    name = "exec"

    def add(self) -> Result:
        try:
            return Result.from_wire(self._run("ADD"))
        except CNIError as error:
            # It may have taken an address before it failed: section 4, "Execution".
            try:
                self._run("DEL")
            except CNIError as second:
                error.details = f"{error.details}; then DEL: {second}".lstrip("; ")
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
        request, conf = self.invocation.request, self.invocation.conf
        folders = (conf.bin_dir, *(each for each in request.path if each != conf.bin_dir))
        environ = {
            **request.environ,
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": request.container_id,
            "CNI_NETNS": request.netns,
            "CNI_IFNAME": self.invocation.ifname,
            "CNI_PATH": ":".join(folders),
        }
        seconds = conf.delegate_timeout
        if request.deadline is not None and command != "DEL":
            seconds = min(seconds, max(0.0, request.deadline - time.monotonic()))
        stdin = encode(self.invocation.wire())
        return Executor(folders).call(self.type, stdin, environ, seconds)[0]
