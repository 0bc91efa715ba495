"""What an interface was like before, in the reference plugin's files.

``<dataDir>/<container>_<interface>.json``: ``{"mac": …, "promisc": …, "mtu": …, "allmulti": …,
"txQLen": …}``, with only the keys that were changed.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from multus.api import atomic, regular
from multus.api.errors import IOFailure
from multus.netlink import links

if TYPE_CHECKING:
    from multus.netlink import Message
    from multus.netlink.links import Link
    from multus_invoker_tuning.config import Config

_LARGEST = 4096

#: The end of the temporary file's name.  The container's lock excludes other writers of it.
_NEW = ".new"


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
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with suppress(FileNotFoundError):
            regular.require(path)
        # After a reboot the interface is gone: no fsync.
        data = json.dumps(before, indent=1).encode()
        atomic.write(path, data, fsync=False, temporary=f"{path}{_NEW}")
    except OSError as error:
        raise IOFailure(f"{path} cannot be written: {error.strerror}") from error


def load(path: str) -> dict[str, Any] | None:
    """The file's content, empty when it is damaged; None when there is none."""
    try:
        found = json.loads(regular.read(path, _LARGEST))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def forget(path: str) -> None:
    """Remove the file, and what a killed ``save`` left, if they are there and regular files."""
    for each in (path, f"{path}{_NEW}"):
        try:
            regular.require(each)
        except OSError:
            continue
        try:
            os.unlink(each)
        except OSError as error:
            raise IOFailure(f"{each} cannot be removed: {error.strerror}") from error


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
