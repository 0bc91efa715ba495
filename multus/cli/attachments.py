"""What the journal records as attached, and which containers are still alive."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from multus.state.liveness import lives

if TYPE_CHECKING:
    from multus.state.journal import Journal
    from multus.state.record import Record

CNI_DIR = "/var/lib/cni/multus"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the folder of records.

    The usual folder may be missing: nothing was attached on this node yet.
    """
    parser.add_argument(
        "--cni-dir",
        type=_folder,
        default=CNI_DIR,
        metavar="FOLDER",
        help="the folder of records (%(default)s)",
    )


def _folder(path: str) -> str:
    try:
        os.stat(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and path != CNI_DIR:
            raise argparse.ArgumentTypeError(f"there is no folder {path!r}") from error
    return path


def described(record: Record) -> dict[str, Any]:
    """A record as ``multus attachments --json`` prints it."""
    return {
        "containerID": record.request.container_id,
        "ifname": record.request.ifname,
        "network": record.network,
        "pod": record.request.pod_label,
        "netns": record.request.netns,
        "alive": lives(record),
        "started": record.started,
        "finished": record.result is not None,
        "damage": record.damage,
        "file": record.path,
        "attachments": [_attachment(record, index) for index in sorted(record.planned)],
    }


def _attachment(record: Record, index: int) -> dict[str, Any]:
    delegate, done = record.planned[index].delegate, record.done.get(index)
    result = done.result if done else None
    return {
        "ifname": delegate.ifname,
        "network": delegate.label,
        "types": [plugin.type for plugin in delegate.plugins],
        "state": _state(record, index),
        "ips": [ip.address for ip in result.ips] if result else [],
        "mac": next((link.mac for link in result.sandbox_interfaces()), "") if result else "",
        "invokers": list(done.invokers) if done else [],
    }


def _state(record: Record, index: int) -> str:
    """``attached``, ``detached``, or ``begun``: DEL must clean up a begun attachment, too."""
    if index in record.gone:
        return "detached"
    return "attached" if index in record.standing() else "begun"


def others(journal: Journal) -> Iterator[Mapping[str, str]]:
    """Every state file that is not a record: ``{"file": …, "why": …}``."""
    for name in journal.others():
        why = "written by the Go Multus: the container's DEL, or GC, removes its attachments"
        yield {"file": f"{journal.folder}/{name}", "why": why}
    for path in journal.kept_aside():
        yield {"file": path, "why": "damaged record: its attachments were removed; delete the file"}
    for path, _ in journal.stuck():
        why = "Multus gave up removing it: remove what is left on the node, then delete the file"
        yield {"file": path, "why": why}
