"""Tracing: one trace a command, from HTTP through its unit of work, its events and NATS to every projection of them.

The envelope of an event carries the command's span in ``traceparent`` (W3C trace context, CloudEvents extension). The
relay's span of publishing the event and each consumer's span of applying it are children of that span, so the trace
holds together whatever is restarted, repeated or replayed between them. An event without ``traceparent`` has no spans.

Spans leave the process only where ``SPOEL_OTLP_ENDPOINT`` says where to. Without it nothing is made: ``on()`` is False
and ``span`` yields a span that ignores everything.

A span never holds what may be a patient's: no path, query, body, aggregate's id, text of an error or client's
correlation id, only the names in this file. Its trace id stands in the log line of the request.
"""

import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from spoel_common.errors import SpoelError
from spoel_common.events import Envelope
from spoel_common.store import StoredEvent

EXPORT_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 2.0
"""How long the last spans may take at the end of a process, whether the collector answers or not."""

ATTRIBUTES = frozenset(
    {
        "error.type",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "messaging.batch.message_count",
        "messaging.message.id",
        "messaging.operation.type",
        "messaging.system",
        "spoel.aggregate.type",
        "spoel.event.count",
        "spoel.event.type",
        "spoel.projection",
    }
)
"""Every attribute that a span may have (OpenTelemetry's names where it has one)."""

_TRACEPARENT = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")
_IN_ENVELOPE = re.compile(rb'"traceparent":"(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})"')
"""In the bytes of an envelope: within a text the quotes would be escaped."""

_SERVER_FAULT = 500

Attributes = Mapping[str, str | int]


class _Export:
    """Where spans go: one place a process, as for logs."""

    tracer: Tracer | None = None


_export = _Export()


def on() -> bool:
    """Tell whether spans are exported."""
    return _export.tracer is not None


@contextmanager
def exporting(service: str, store: str, endpoint: str | None) -> Iterator[None]:
    """Export spans while the block runs, over OTLP/HTTP; do nothing where ``endpoint`` is None.

    Sampling, headers, certificates and batch sizes are OpenTelemetry's own variables (``OTEL_TRACES_SAMPLER``,
    ``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_BSP_…``). Where the collector is away, spans are dropped and nothing waits.

    Args:
        service: name of the service.
        store: its store: tells room nodes apart.
        endpoint: base address of the collector, such as ``http://127.0.0.1:4318``.
    """
    if endpoint is None:
        yield
        return
    # imported only where it is wanted: these cost a service's start a tenth of a second
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter  # noqa: PLC0415

    resource = Resource.create({"service.name": f"spoel-{service}", "service.instance.id": f"{service}-{store}"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter: SpanExporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _export.tracer = provider.get_tracer("spoel")
    try:
        yield
    finally:
        _export.tracer = None
        last = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        last.start()
        last.join(STOP_TIMEOUT_S / 2)
        if last.is_alive():
            exporter.shutdown()  # it waits before its next attempt: no attempt is made behind this block
            last.join(STOP_TIMEOUT_S / 2)


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: str | None = None,
    attributes: Attributes | None = None,
) -> Iterator[Span]:
    """Make a span of what the block does; it is the parent of every span within.

    A refusal is an answer and leaves the span's status alone; any other exception makes it an error. Of both only the
    kind is kept.

    Args:
        name: what is done; few different ones.
        kind: SERVER for a request.
        parent: the ``traceparent`` to continue where there is no span around this one.
        attributes: of those in ``ATTRIBUTES``.
    """
    tracer = _export.tracer
    if tracer is None:
        yield INVALID_SPAN
        return
    context = None if get_current_span().get_span_context().is_valid else _context(parent)
    with tracer.start_as_current_span(
        name, context, kind, attributes, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield made
        except SpoelError as refusal:
            made.set_attribute("error.type", refusal.slug)
            raise
        except BaseException as error:
            _fail(made, type(error).__name__)
            raise


@contextmanager
def request_span(method: str, traceparent: str | None) -> Iterator[Span]:
    """Make the span of an HTTP request; log lines within it say ``trace_id``. ``name_request`` ends what it says."""
    with span(method, SpanKind.SERVER, traceparent, {"http.request.method": method}) as made:
        if not made.get_span_context().is_valid:
            yield made
            return
        with structlog.contextvars.bound_contextvars(trace_id=f"{made.get_span_context().trace_id:032x}"):
            yield made


def name_request(made: Span, method: str, route: str, status: int) -> None:
    """Say which route, as a template without ids, served the request of this span, and with what status."""
    made.update_name(f"{method} {route}")
    made.set_attribute("http.route", route)
    made.set_attribute("http.response.status_code", status)
    if status >= _SERVER_FAULT:
        _fail(made, str(status))


def traceparent_of(made: Span) -> str | None:
    """Return the W3C trace context of a span; None where tracing is off."""
    context = made.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def published(events: Sequence[StoredEvent], began_ns: int) -> None:
    """Make a span for each traced event of a batch that the relay has published.

    Args:
        events: the batch, acknowledged.
        began_ns: when publishing began, nanoseconds since 1970.
    """
    ended_ns = time.time_ns()
    shared: Attributes = {"messaging.operation.type": "send", "messaging.batch.message_count": len(events)}
    for event in events:
        found = _IN_ENVELOPE.search(event.raw)
        if found is not None:
            _record("publish", SpanKind.PRODUCER, found[1].decode(), (began_ns, ended_ns), event, shared)


def applied(projection: str, events: Iterable[Envelope], began_ns: int) -> None:
    """Make a span for each traced event that a consumer has applied to a projection.

    Args:
        projection: its name.
        events: the envelopes of one transaction, which is committed.
        began_ns: when the transaction began, nanoseconds since 1970.
    """
    ended_ns = time.time_ns()
    shared: Attributes = {"messaging.operation.type": "process", "spoel.projection": projection}
    for event in events:
        if event.traceparent is not None:
            _record(f"apply {projection}", SpanKind.CONSUMER, event.traceparent, (began_ns, ended_ns), event, shared)


def _record(
    name: str, kind: SpanKind, parent: str, times_ns: tuple[int, int], event: StoredEvent | Envelope, shared: Attributes
) -> None:
    context = _context(parent)
    if _export.tracer is None or context is None:
        return
    attributes = {
        **shared,
        "messaging.system": "nats",
        "messaging.message.id": event.id,
        "spoel.event.type": event.type,
    }
    made = _export.tracer.start_span(name, context, kind, attributes, start_time=times_ns[0])
    made.end(times_ns[1])


def _context(traceparent: str | None) -> Context | None:
    """Return the context that a ``traceparent`` names; None where it names none."""
    found = None if traceparent is None else _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    parent = SpanContext(
        int(found["trace"], 16), int(found["span"], 16), is_remote=True, trace_flags=TraceFlags(int(found["flags"], 16))
    )
    return set_span_in_context(NonRecordingSpan(parent), Context()) if parent.is_valid else None


def _fail(made: Span, kind: str) -> None:
    made.set_attribute("error.type", kind)
    made.set_status(Status(StatusCode.ERROR, kind))
