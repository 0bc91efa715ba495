"""How full the address ranges of a node are: the same for status, top and doctor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from multus.api.errors import CNIError, IOFailure
from multus.cli.findings import ERROR, WARNING, Finding, of_error
from multus.cli.layout import NEARLY_FULL

if TYPE_CHECKING:
    from multus.ipam.usage import Usage
    from multus.state.record import Record


def in_use(
    configured: Iterable[Mapping[str, Any]],
    records: Iterable[Record],
    subject: str,
    root: str = "",
    store: str = "",
) -> tuple[tuple[Usage, ...], list[Finding]]:
    """The ranges of the *configured* plugins and of the records' ones; errors of reading stores.

    *root* is where the node's file system is mounted, *store* the folder of networks that name
    none; "" is host-local's own.
    """
    from multus.ipam import usage

    recorded = (step.config for r in records for p in r.planned.values() for step in p.steps)
    found: dict[tuple[str, str, str], Usage] = {}
    failures: list[Finding] = []
    for config in (*configured, *recorded):
        try:
            for each in usage.of(_stored(config, store), root):
                found.setdefault((each.network, each.spans, each.directory), each)
        except IOFailure as error:
            failures.append(of_error(error, subject))
        except CNIError:
            continue  # 'multus validate' reports wrong ranges
    return tuple(found[key] for key in sorted(found)), list(dict.fromkeys(failures))


def _stored(config: Mapping[str, Any], store: str) -> Mapping[str, Any]:
    """*config*, with *store* when it names no folder."""
    ipam = config.get("ipam")
    if not store or not isinstance(ipam, Mapping) or ipam.get("dataDir"):
        return config
    return {**config, "ipam": {**ipam, "dataDir": store}}


def full(ranges: Sequence[Usage], subject: str) -> Iterator[Finding]:
    """A finding for each range that is full, or nearly."""
    for each in ranges:
        if each.share >= NEARLY_FULL:
            reason = f"network {each.network!r}: {each.used} of {each.size} addresses are in use"
            fix = "enlarge its range, or run 'multus gc' if containers are gone"
            severity = ERROR if each.share >= 1 else WARNING
            yield Finding(severity, subject, reason, fix)
