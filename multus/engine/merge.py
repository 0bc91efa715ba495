"""Merge: one answer out of all attachments' results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from multus.api.result import Result
from multus.engine.resolve import missing_plugin

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Attachment
    from multus.api.request import Request
    from multus.api.session import Session
    from multus.registry.discovery import Installed


def merge(
    installed: Installed,
    attachments: Sequence[Attachment],
    request: Request,
    conf: Conf,
    session: Session,
) -> Result:
    """The result for the runtime; raises ``MissingPlugin`` when no merger makes one."""
    result = installed.hooks.merge(attachments, request, conf, session)
    if result is None:
        name = conf.merger or "primary"
        raise missing_plugin(
            f"is the merger {name!r} of configuration {conf.name!r}",
            f"multus-merger-{name}",
            installed,
        )
    return (
        result if conf.prev_result is None else _joined(Result.from_wire(conf.prev_result), result)
    )


def _joined(before: Result, result: Result) -> Result:
    """Behind another plugin in a chain, what that one reported comes first."""
    after = result.shifted(len(before.interfaces))
    return Result(
        interfaces=before.interfaces + after.interfaces,
        ips=before.ips + after.ips,
        routes=before.routes + after.routes,
        dns=after.dns or before.dns,
    )
