"""The primary merger: the result of the network that is the container's own."""

from __future__ import annotations

from collections.abc import Sequence

from multus import hookimpl
from multus.api.conf import Conf
from multus.api.network import Attachment
from multus.api.result import Result


@hookimpl(trylast=True)
def multus_merge(attachments: Sequence[Attachment], conf: Conf) -> Result | None:
    """The primary's result, unless the configuration names another merger."""
    if conf.merger not in ("", "primary"):
        return None
    return next(each.result for each in attachments if each.delegate.primary)
