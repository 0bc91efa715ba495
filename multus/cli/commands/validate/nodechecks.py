"""Checks what networks need of the node: whether it has it, or that this was not looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from multus.api.delegates import delegate_from
from multus.api.errors import CNIError
from multus.api.network import Provenance
from multus.api.request import Request
from multus.api.session import Session
from multus.api.where import Path
from multus.cli import lacks
from multus.cli.findings import ERROR, NOTE, UNCHECKED, WARNING, Finding
from multus.cli.node import BIN_DIR
from multus.engine.invoke.call import Call
from multus.engine.invoke.plan import plan
from multus.log import Log

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Delegate
    from multus.cli.documents import Document
    from multus.registry.loading import Installed

#: How many things are named that were not looked for.
_NAMED = 4


@frozen
class OfNode:
    """Whether networks find on this machine what they need; *here* says that it is the node.

    ``needed`` collects what was not looked for.
    """

    installed: Installed
    conf: Conf
    here: bool
    needed: dict[str, None] = field(factory=dict)

    def with_conf(self, conf: Conf) -> OfNode:
        """The same for networks of another configuration of Multus."""
        return evolve(self, conf=conf)

    def unchecked(self) -> Iterator[Finding]:
        """What was not looked for, in one finding."""
        if self.needed:
            some = ", ".join(list(self.needed)[:_NAMED])
            more = f" and {len(self.needed) - _NAMED} more" if len(self.needed) > _NAMED else ""
            reason = f"this is not the node; not looked for: {some}{more}"
            yield Finding(UNCHECKED, "node", reason, "run it on the node too", of_node=True)

    def check(self, document: Document, base: Path, delegate: Delegate) -> Iterator[Finding]:
        """What the network in *document* at *base* does not find."""
        request = Request("ADD", ifname="eth0", path=(BIN_DIR,), dry_run=True)
        with Session(Log.from_conf({"logLevel": "panic"})) as session:
            call = Call(self.installed, session, request, self.conf)
            try:
                (planned,) = plan([delegate], call)
            except CNIError as error:
                yield document.told(error, base, whole=True)
                return
            lacking = list(lacks.of_configuration(planned, call))
            if self.here:
                lacking += [*lacks.of_programs(planned, call), *lacks.of_host(planned, call)]
            for each in lacking:
                if self.here or not each.of_node:
                    severity = WARNING if each.is_passing else ERROR
                    where = _plugin_at(document, base, each.place)
                    yield document.told(each.error, where, severity=severity)
            if self.here:
                if not lacking:
                    reason = f"its plugins on this node: {lacks.served([planned])}"
                    yield document.finding(NOTE, base, reason, "")
                return
            for what in lacks.named(planned, call):
                self.needed[f"{what} of {delegate}"] = None

    def check_configured(self, document: Document, base: Path, config: object) -> Iterator[Finding]:
        """``check`` for a network's configuration in a file; a wrong one is reported elsewhere."""
        if not isinstance(config, dict):
            return
        try:
            delegate = delegate_from(
                config, self.conf, "this network", name=self.conf.name, provenance=Provenance.NODE
            )
        except CNIError:
            return
        yield from self.check(document, base, delegate)


def _plugin_at(document: Document, base: Path, place: int) -> Path:
    """The path of the plugin at *place* in the chain of the network at *base*."""
    listed = (*base, "plugins", place)
    return listed if document.known(listed) == listed else base
