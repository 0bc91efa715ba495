"""An observer that tells a web hook what was attached, detached, or refused."""

from __future__ import annotations

import json
import os
from typing import Any

from multus import hookimpl
from multus.api.conf import Conf
from multus.api.network import Attachment, Outcome
from multus.api.problem import Problem
from multus.api.request import Request

KEY, PATIENCE = "webhookUrl", 2.0


@hookimpl
def multus_validate(conf: Conf) -> list[Problem]:
    """The key holds a web address."""
    url = conf.reader.text(KEY)
    if url and not url.startswith(("http://", "https://")):
        return [Problem(KEY, f"is {url!r}, which is not a web address", "start it with https://")]
    return []


@hookimpl
def multus_finished(outcome: Outcome, request: Request, conf: Conf) -> None:
    """Post what happened; what goes wrong is logged by the core and ends there."""
    url = conf.reader.text(KEY)
    if not url or outcome.command not in ("ADD", "DEL"):
        return
    from urllib.request import Request as Post
    from urllib.request import urlopen

    told = {
        "node": os.uname().nodename,
        "command": outcome.command,
        "pod": str(request.pod or ""),
        "container": request.container_id,
        "error": outcome.error and {"code": outcome.error.number, "msg": outcome.error.msg},
        "attachments": [_attachment(each) for each in outcome.attachments],
    }
    headers = {"Content-Type": "application/json"}
    urlopen(Post(url, json.dumps(told).encode(), headers), timeout=PATIENCE).close()


def _attachment(attachment: Attachment) -> dict[str, Any]:
    return {
        "network": attachment.delegate.label,
        "interface": attachment.delegate.ifname,
        "ips": [ip.address for ip in attachment.result.ips],
        "seconds": round(attachment.seconds, 4),
    }
