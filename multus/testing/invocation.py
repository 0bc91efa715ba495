"""Invocations without a transaction, for tests that call an invoker or IPAM directly."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from multus.api.conf import Conf
from multus.api.network import Delegate, Invocation, Plugin, Provenance
from multus.api.request import Request, parse_args
from multus.api.result import Result
from multus.api.session import Session
from multus.api.versions import NEWEST
from multus.testing.delegates import SYSTEM_FOLDERS
from multus.testing.session import new_session

if TYPE_CHECKING:
    from multus.api.delegation import Delegated
    from multus.api.invoker import Declined
    from multus.api.ipam import Ipam


#: Nothing is kept for a later process, on a developer's machine least of all.
_NO_FOLDER = "/run/multus-none"


@frozen
class Caller:
    """The caller of invocations: a container, its interface, and the runtime's arguments.

    ``args`` is the text of ``CNI_ARGS``; ``provenance`` is the author of the configuration;
    ``conf`` has keys of Multus' own configuration.
    """

    container_id: str = "c1"
    netns: str = "/run/netns/none"
    ifname: str = "eth0"
    args: str = ""
    path: Sequence[str] = SYSTEM_FOLDERS
    provenance: Provenance = Provenance.NODE
    conf: Mapping[str, Any] = field(factory=dict, hash=False)

    def invocation(
        self,
        verb: str,
        config: Mapping[str, Any],
        prev_result: Result | None = None,
        valid: Sequence[Caller] = (),
        session: Session | None = None,
    ) -> Invocation:
        """One verb on the network of *config*, a plugin's configuration.

        Missing ``name`` and ``cniVersion`` are added.  Without *session* the invocation gets a new
        one, which is closed when it is garbage-collected.
        """
        whole = {"cniVersion": NEWEST, "name": "net1", **config}
        session = session or new_session()
        plugin = Plugin(whole)
        delegate = Delegate(
            whole["name"],
            (plugin,),
            whole["cniVersion"],
            ifname=self.ifname,
            provenance=self.provenance,
        )
        return Invocation(
            verb=verb,
            delegate=delegate,
            plugin=plugin,
            config=whole,
            request=self._request(verb),
            conf=Conf.from_wire(
                {
                    "name": "multus",
                    "cniVersion": whole["cniVersion"],
                    "cniDir": _NO_FOLDER,
                    **self.conf,
                }
            ),
            session=session,
            log=session.log,
            prev_result=prev_result,
            valid_attachments=tuple(
                {"containerID": each.container_id, "ifname": each.ifname} for each in valid
            ),
            delegating=_delegating,
            ipams=_ipams,
        )

    def _request(self, verb: str) -> Request:
        return Request(
            verb,
            container_id=self.container_id,
            netns=self.netns,
            ifname=self.ifname,
            path=tuple(self.path),
            args=parse_args(self.args),
            environ={"CNI_ARGS": self.args, "PATH": os.environ.get("PATH", os.defpath)},
        )


def _delegating(outer: Invocation, config: Mapping[str, Any]) -> Delegated:
    """Delegate to the installed plugins."""
    from multus.engine.invoke.delegation import delegated
    from multus.registry.index import discover
    from multus.registry.loading import load

    return delegated(load(discover()), outer, config)


def _ipams(kind: str, invocation: Invocation) -> Iterator[Ipam | Declined]:
    """The offers of the installed plugins."""
    from multus.registry.index import discover
    from multus.registry.loading import load

    return load(discover()).hooks.ipams(kind, invocation)
