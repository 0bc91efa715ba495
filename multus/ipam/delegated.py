"""IPAM by a plugin's binary: every type that is not served in-process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.errors import CNIError, DecodingFailure, DelegateFailed, MissingPlugin
from multus.ipam.base import Ipam
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
        except CNIError:
            # A plugin that failed may have taken an address before (section 4, "Execution").
            self._run("DEL")
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

    def _run(self, command: str) -> dict[str, Any] | None:
        import os
        import subprocess

        request, conf = self.invocation.request, self.invocation.conf
        path = (conf.bin_dir, *request.path)
        binary = next(
            (f"{each}/{self.type}" for each in path if os.access(f"{each}/{self.type}", os.X_OK)),
            None,
        )
        if binary is None or "/" in self.type:
            raise MissingPlugin(
                f"failed to find plugin {self.type!r} of 'ipam' in path {':'.join(path)}:"
                " install it there"
            )
        environ = {
            **request.environ,
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": request.container_id,
            "CNI_NETNS": request.netns,
            "CNI_IFNAME": self.invocation.ifname,
            "CNI_PATH": ":".join(path),
        }
        done = subprocess.run(
            [binary],
            input=json.dumps(self.invocation.wire()).encode(),
            env=environ,
            capture_output=True,
            timeout=conf.delegate_timeout,
            check=False,
        )
        try:
            answer: dict[str, Any] | None = json.loads(done.stdout) if done.stdout.strip() else None
        except ValueError as error:
            raise DecodingFailure(f"plugin {self.type!r} of 'ipam' printed no JSON") from error
        if done.returncode == 0:
            return answer
        if not answer:
            raise DelegateFailed(
                f"plugin {self.type!r} of 'ipam' failed with status {done.returncode}",
                done.stderr.decode(errors="replace"),
            )
        raise CNIError(
            f"plugin {self.type!r} of 'ipam': {answer.get('msg')}",
            str(answer.get("details", "")),
            code=int(answer.get("code", 999)),
        )
