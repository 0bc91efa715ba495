"""The exec invoker: runs the CNI plugin's binary, for every type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from multus import hookimpl
from multus.api.conf import Conf
from multus.api.errors import (
    CNIError,
    DelegateFailed,
    IncompatibleVersion,
    NotAvailable,
    NotStarted,
)
from multus.api.invoker import Invoker, NothingDone
from multus.api.jsontext import encode
from multus.api.network import Delegate, Invocation, Plugin
from multus.api.result import Result
from multus.api.versions import at_least

if TYPE_CHECKING:
    from multus.api.execute import Executor


@hookimpl(trylast=True)
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker:
    """Offer to run any plugin's binary, after all other invokers."""
    return ExecInvoker()


class ExecInvoker(Invoker):
    """Each verb starts the plugin's binary with that verb."""

    name = "exec"

    def prepare(self, invocation: Invocation) -> None:
        """Check that the plugin's binary exists; its IPAM is not checked, it may be built in."""
        _executor(invocation).find(invocation.plugin.type)

    def add(self, invocation: Invocation) -> Result:
        try:
            printed = _run(invocation)
        except NotStarted as error:
            raise error.into(NothingDone, code=error.number) from error
        if printed is not None and not isinstance(printed, dict):
            raise DelegateFailed(
                f"plugin {invocation.plugin.type!r} printed JSON that is not an object:"
                f" {printed!r:.80}"
            )
        try:
            # Old plugins omit the version in results, or print nothing.
            wire = printed and {"cniVersion": invocation.cni_version, **printed}
            result = Result.from_wire(wire)
        except IncompatibleVersion as error:
            # IncompatibleVersion would make the engine try another version, so raise another error.
            raise error.at(f"plugin {invocation.plugin.type!r}").into(DelegateFailed) from error
        if _placed(wire) > sum(ip.interface is not None for ip in result.ips):
            invocation.log.verbose(
                f"{invocation}: an address is on an interface that the result does not have"
            )
        return result

    def delete_one(self, invocation: Invocation) -> None:
        _run(invocation)

    def check(self, invocation: Invocation) -> None:
        if at_least(invocation.cni_version, "0.4.0"):
            _run(invocation)

    def status(self, invocation: Invocation) -> None:
        try:
            _executor(invocation).find(invocation.plugin.type)
        except NotStarted as error:
            raise error.into(NotAvailable) from error
        self._if_known(invocation)

    def gc(self, invocation: Invocation) -> None:
        self._if_known(invocation)

    def _if_known(self, invocation: Invocation) -> None:
        """Execute a verb of CNI 1.1.0, unless the plugin is older.

        An older plugin may answer an unknown verb with any error.
        """
        if not at_least(invocation.cni_version, "1.1.0"):
            return
        try:
            _run(invocation)
        except CNIError:
            if "1.1.0" in self.versions(invocation):
                raise

    def versions(self, invocation: Invocation) -> Sequence[str]:
        environ = {**invocation.environ(), "CNI_COMMAND": "VERSION"}
        asked = encode({"cniVersion": invocation.cni_version})
        printed = _call(invocation, asked, environ)
        if not isinstance(printed, dict):
            return ("0.1.0",)
        versions = printed.get("supportedVersions") or [printed.get("cniVersion")]
        return tuple(each for each in versions if isinstance(each, str))


def _placed(wire: Mapping[str, Any] | None) -> int:
    """How many addresses of a result name an interface; before CNI 0.3.0 there is no such list."""
    ips = (wire or {}).get("ips")
    named = [each for each in ips if isinstance(each, dict)] if isinstance(ips, list) else []
    return sum(each.get("interface") is not None for each in named)


def _executor(invocation: Invocation) -> Executor:
    from multus.api.execute import Executor

    return Executor(invocation.folders(), invocation.session.chroot, inherited=invocation.inherited)


def _run(invocation: Invocation) -> Any:
    return _call(invocation, encode(invocation.wire()), invocation.environ())


def _call(invocation: Invocation, stdin: bytes, environ: Mapping[str, str]) -> Any:
    timeout = invocation.conf.delegate_timeout
    if invocation.verb == "ADD":
        timeout = max(0.1, invocation.session.remaining(timeout))
    printed, stderr = _executor(invocation).call(invocation.plugin.type, stdin, environ, timeout)
    if stderr:
        invocation.log.verbose(f"{invocation} wrote to stderr", stderr=stderr)
    return printed
