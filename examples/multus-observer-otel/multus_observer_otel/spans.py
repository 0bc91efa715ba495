"""From an outcome to spans, and to the collector."""

from __future__ import annotations

import os

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from multus.api.errors import CNIError, TryAgainLater
from multus.api.network import Outcome
from multus.api.request import Request

SECONDS = 2


def send(url: str, outcome: Outcome, request: Request) -> None:
    """Send the spans of one request in one POST."""
    made = InMemorySpanExporter()
    node = Resource.create({"service.name": "multus", "host.name": os.uname().nodename})
    provider = TracerProvider(resource=node, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(made))
    tracer = provider.get_tracer("multus")
    parent = TraceContextTextMapPropagator().extract(
        {"traceparent": request.environ.get("TRACEPARENT", "")}
    )
    whole = tracer.start_span(f"CNI {outcome.command}", parent, start_time=_ns(outcome.started))
    whole.set_attribute("container.id", request.container_id)
    if request.pod:
        whole.set_attribute("k8s.pod.name", request.pod.name)
        whole.set_attribute("k8s.namespace.name", request.pod.namespace)
    for name, seconds in outcome.stages.items():
        whole.set_attribute(f"multus.stage.{name}.seconds", seconds)
    inside = set_span_in_context(whole)
    for each in outcome.delegates:
        name = f"{outcome.command} {each.delegate.label}"
        part = tracer.start_span(name, inside, start_time=_ns(each.started))
        part.set_attribute("cni.interface", each.delegate.ifname)
        part.set_attribute("cni.type", each.delegate.types)
        _end(part, each.started + each.seconds, each.error)
    _end(whole, outcome.started + outcome.seconds, outcome.error)
    taken = OTLPSpanExporter(url, timeout=SECONDS).export(made.get_finished_spans())
    if taken is not SpanExportResult.SUCCESS:
        raise TryAgainLater(f"the collector at {url} did not take the spans")


def _end(span: Span, at: float, error: CNIError | None) -> None:
    if error is not None:
        span.set_attribute("cni.error.code", error.number)
        span.set_status(StatusCode.ERROR, error.msg)
    span.end(_ns(at))


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
