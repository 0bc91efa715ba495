"""An observer that sends a span for each request, and one for each of its delegates."""

from __future__ import annotations

from multus import hookimpl
from multus.api.conf import Conf
from multus.api.network import Outcome
from multus.api.problem import Problem
from multus.api.request import Request

KEY = "otlpEndpoint"


@hookimpl
def multus_validate(conf: Conf) -> list[Problem]:
    """The key holds the address of a collector."""
    url = conf.reader.text(KEY)
    if url and not url.startswith(("http://", "https://")):
        return [Problem(KEY, f"{url!r} is not a web address", "start it with http:// or https://")]
    return []


@hookimpl
def multus_finished(outcome: Outcome, request: Request, conf: Conf) -> None:
    """Send what happened."""
    url = conf.reader.text(KEY)
    if url:
        # The SDK takes long to import. A daemon has imported this module before it forks workers.
        from multus_observer_otel.spans import send

        send(url, outcome, request)
