"""The portmap invoker: ports of the host that lead into the container, without its binary.

It replaces the reference plugin ``portmap``: the same rules by iptables or nftables, so either can
check and remove what the other made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus import hookimpl

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.invoker import Declined, Invoker
    from multus.api.network import Delegate, Plugin

#: The keys of a ``portmap`` configuration that are served here; with any other, the binary is run.
KEYS = frozenset(
    {
        *("backend", "conditionsV4", "conditionsV6", "dns", "externalSetMarkChain"),
        *("markMasqBit", "masqAll", "snat"),
    }
)


@hookimpl
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | Declined | None:
    """Offer to execute type ``portmap`` when every key of the configuration is known."""
    if plugin.type != "portmap":
        return None
    from multus.api.invoker import Declined, declined
    from multus_invoker_portmap.config import in_nft_language
    from multus_invoker_portmap.invoker import Portmap

    key = in_nft_language(plugin.config)
    if key:
        said = f"the value of {key!r} is for the program nft, which the binary runs"
        return Declined("portmap", said)
    return declined(plugin, KEYS) or Portmap()
