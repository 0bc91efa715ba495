from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import multus_observer_otel as observer
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from multus.api.conf import Conf
from multus.api.errors import CNIError, TryAgainLater
from multus.api.network import Carried, Delegate, Outcome
from multus.api.request import Request

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
NETWORK = Delegate(name="lan", plugins=(), cni_version="1.0.0", ifname="net1")
ERROR = TryAgainLater("the switch is away")
FAILED = Outcome(
    "ADD", error=ERROR, started=1e9, seconds=3, delegates=(Carried(NETWORK, 1e9 + 1, 2, ERROR),)
)


@pytest.fixture
def collector():
    """A collector: its address, and the spans that it got."""
    got = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for each in ExportTraceServiceRequest.FromString(body).resource_spans:
                got.extend(span for scope in each.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Take) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", got
        server.shutdown()


def test_a_request_and_its_delegates_are_spans_of_the_callers_trace(collector):
    url, got = collector
    conf = Conf.from_wire({"name": "node", observer.KEY: url})
    environ = {"TRACEPARENT": f"00-{TRACE}-{PARENT}-01"}
    observer.multus_finished(FAILED, Request("ADD", container_id="c1", environ=environ), conf)
    part, whole = got
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE, PARENT)
    assert (part.name, part.parent_span_id) == ("ADD lan", whole.span_id)
    assert part.end_time_unix_nano - part.start_time_unix_nano == 2 * 10**9
    assert part.status.message == "the switch is away"


def test_a_collector_that_is_away_is_said():
    conf = Conf.from_wire({"name": "node", observer.KEY: "http://127.0.0.1:9/v1/traces"})
    with pytest.raises(CNIError, match="did not take"):
        observer.multus_finished(FAILED, Request("ADD"), conf)
    assert observer.multus_validate(conf) == []
