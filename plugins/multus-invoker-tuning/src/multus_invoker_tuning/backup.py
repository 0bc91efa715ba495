"""What an interface was like before, in the reference plugin's files.

``<dataDir>/<container>_<interface>.json``: ``{"mac": …, "promisc": …, "mtu": …, "allmulti": …,
"txQLen": …}``, with only the keys that were changed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from multus.api import regular
from multus.inprocess import keep
from multus.netlink import links

if TYPE_CHECKING:
    from multus.netlink import Message
    from multus.netlink.links import Link
    from multus_invoker_tuning.config import Config

_LARGEST = 4096


def save(path: str, config: Config, link: Link) -> None:
    """Write what *config* changes of *link* as it is now."""
    before: dict[str, Any] = {}
    if config.mac:
        before["mac"] = link.mac
    if config.promiscuous:
        before["promisc"] = link.promiscuous
    if config.mtu:
        before["mtu"] = link.mtu
    if config.allmulti is not None:
        before["allmulti"] = link.allmulti
    if config.txqlen is not None:
        before["txQLen"] = link.txqlen
    keep(path, json.dumps(before, indent=1).encode())


def load(path: str) -> dict[str, Any] | None:
    """The file's content, empty when it is damaged; None when there is none."""
    try:
        found = json.loads(regular.read(path, _LARGEST))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def restoring(index: int, before: dict[str, Any]) -> list[Message]:
    """The messages that make the interface what it was; values of another type are left out."""
    messages: list[Message] = []
    if type(mtu := before.get("mtu")) is int and mtu > 0:
        messages.append(links.set_mtu(index, mtu))
    if isinstance(mac := before.get("mac"), str) and mac:
        messages.append(links.set_mac(index, mac))
    if isinstance(on := before.get("promisc"), bool):
        messages.append(links.set_promiscuous(index, on))
    if isinstance(on := before.get("allmulti"), bool):
        messages.append(links.set_allmulti(index, on))
    if type(packets := before.get("txQLen")) is int and packets >= 0:
        messages.append(links.set_txqlen(index, packets))
    return messages
