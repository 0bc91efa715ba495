"""Delegated plugins: one verb of another plugin, on behalf of an invoker.

Some plugins compute a configuration and leave the work to another plugin, as flannel does to
bridge.  Their invokers ask the engine for it::

    inner = delegated(invocation, {"type": "bridge", "mtu": 1450, "ipam": …})
    inner.prepare()             # its prepare: raises when a binary is missing, for instance
    result = inner.add()
    inner.delete()              # DEL; also the undo of a failed ADD

The engine carries the plugin out as one of its own: by an in-process invoker if there is one for
the configuration, else by the plugin's binary, in a CNI version that both sides know.

Source: CNI specification 1.1.0, section 4, "Plugin Delegation".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multus.api.invoker import Invoker

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.result import Result


class Delegated:
    """A delegated plugin: ``invoker`` carries it out, ``invocation`` is its part of the request.

    The container, the interface, ``CNI_ARGS``, the previous result and the valid attachments are
    those of the outer invocation, and so is who wrote the configuration: what a tenant may not
    configure, its delegated plugin may not either.

    An error names the delegated plugin.  The journal has the outer plugin alone: its DEL has to
    find or compute the delegated plugin's configuration, also after an ADD that failed or was
    killed.
    """

    invoker: Invoker
    invocation: Invocation

    def prepare(self) -> None:
        """Raise when an ADD cannot start."""
        raise NotImplementedError

    def add(self) -> Result:
        """ADD; returns the plugin's result.  After an error the outer plugin gets a DEL."""
        raise NotImplementedError

    def delete(self) -> None:
        """DEL, which can be repeated."""
        raise NotImplementedError

    def check(self) -> None:
        """CHECK; raises ``CheckFailed``, or the plugin's error."""
        raise NotImplementedError

    def status(self) -> None:
        """STATUS; raises ``NotAvailable``, or the plugin's error."""
        raise NotImplementedError

    def gc(self) -> None:
        """GC, with the valid attachments of the outer invocation."""
        raise NotImplementedError


def delegated(invocation: Invocation, config: Mapping[str, Any]) -> Delegated:
    """The verb of *invocation*, of the plugin that *config* configures.

    ``name`` and ``cniVersion`` are those of the invocation where *config* has none.  Raises
    ``InvalidConfig``, and ``MissingPlugin`` when no invoker serves the configuration.
    """
    if invocation.delegating is None:
        raise RuntimeError(f"{invocation}: it was made without an engine")
    made: Delegated = invocation.delegating(invocation, config)
    return made


class Delegating(Invoker):
    """An invoker that leaves all its work to another plugin; override ``inner``.

    Each verb is the delegated plugin's.  Override a verb for what is done beside it.
    """

    def inner(self, invocation: Invocation) -> Delegated:
        """The delegated plugin, for the verb of *invocation*; see `delegated`.

        For a DEL it must not raise when ADD could have begun: it is also the undo of an ADD.
        """
        raise NotImplementedError

    def prepare(self, invocation: Invocation) -> None:
        self.inner(invocation).prepare()

    def add(self, invocation: Invocation) -> Result:
        return self.inner(invocation).add()

    def delete_one(self, invocation: Invocation) -> None:
        self.inner(invocation).delete()

    def check(self, invocation: Invocation) -> None:
        self.inner(invocation).check()

    def status(self, invocation: Invocation) -> None:
        self.inner(invocation).status()

    def gc(self, invocation: Invocation) -> None:
        self.inner(invocation).gc()
