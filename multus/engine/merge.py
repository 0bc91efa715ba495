"""Merge: one result for the runtime out of the results of all attachments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from multus.api.errors import CNIError, described
from multus.api.jsontext import encode
from multus.api.result import Result
from multus.api.versions import NEWEST
from multus.engine.resolve import missing_plugin

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Attachment
    from multus.api.request import Request
    from multus.api.session import Session
    from multus.registry.loading import Installed


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


def unwritable(result: Result, conf: Conf) -> CNIError | None:
    """The error of a merged result that is not JSON; None when it is."""
    try:
        encode(result.to_wire(NEWEST))
    except (TypeError, ValueError, AttributeError) as error:
        wrong = CNIError(
            f"the result of merger {conf.merger or 'primary'!r} is not JSON ({described(error)})",
            fix="report it to its author",
        )
        wrong.__cause__ = error
        return wrong
    return None


def _joined(before: Result, result: Result) -> Result:
    """In a chain behind another plugin: that one's result comes first."""
    after = result.shifted(len(before.interfaces))
    return Result(
        interfaces=before.interfaces + after.interfaces,
        ips=before.ips + after.ips,
        routes=before.routes + after.routes,
        dns=after.dns or before.dns,
    )
