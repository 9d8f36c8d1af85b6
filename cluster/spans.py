"""Spans by OpenTelemetry's SDK, sent by OTLP over HTTP. Import it where something is traced: it takes its time."""

import contextlib
from collections.abc import Iterator, Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_DELAY_MS = 1000  # a worker may be ended at any time
_LIMIT_S = 2.0  # for a collector that is away: a process that ends waits for it, too
_QUERY = "url.query"


class Spans:
    """The spans of this process, a ``part`` of the server; those of requests FastAPI makes, once this is there."""

    def __init__(self, endpoint: str, part: str) -> None:
        provider = TracerProvider(resource=Resource.create({"service.name": "mediaray", "mediaray.part": part}))
        provider.add_span_processor(_WithoutQueries())
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_LIMIT_S)
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_DELAY_MS))
        trace.set_tracer_provider(provider)
        self._tracer = provider.get_tracer("mediaray")
        self._context = TraceContextTextMapPropagator()

    @contextlib.contextmanager
    def span(
        self, name: str, about: Mapping[str, str], parent: str | None, dropped: tuple[type[Exception], ...]
    ) -> Iterator[None]:
        """See ``cluster.tracing.span``."""
        context = self._context.extract({"traceparent": parent}) if parent else None
        attributes = {f"mediaray.{key}": value for key, value in about.items()}
        with self._tracer.start_as_current_span(
            name, context, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as current:
            outcome = "done"
            try:
                yield
            except dropped:
                outcome = "dropped"
                raise
            except BaseException as error:
                outcome = "failed"
                current.set_attribute("error.type", type(error).__name__)
                current.set_status(StatusCode.ERROR)
                raise
            finally:
                current.set_attribute("mediaray.outcome", outcome)

    def traceparent(self) -> str | None:
        """See ``cluster.tracing.traceparent``."""
        carrier: dict[str, str] = {}
        self._context.inject(carrier)
        return carrier.get("traceparent")


class _WithoutQueries(SpanProcessor):
    """Queries of requests name files, and may be signed: they stay here."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        if span.attributes and _QUERY in span.attributes:
            span.set_attribute(_QUERY, "REDACTED")
