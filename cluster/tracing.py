"""Traces, from a request to each unit of its job. Nothing is traced by a process that wasn't told an endpoint.

Such a one doesn't import OpenTelemetry either: that is for ``cluster.spans`` alone.
"""

import contextlib
import functools
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.spans import Spans

_log = logging.getLogger("mediaray.tracing")
_spans: "Spans | None" = None


@functools.cache
def trace_to(endpoint: str | None, part: str) -> None:
    """Have this process, a ``part`` of the server, send its spans to an OTLP endpoint (HTTP) from now on."""
    global _spans
    if endpoint is None:
        return
    try:
        from cluster.spans import Spans
    except ImportError as error:  # it takes an extra
        _log.warning("nothing is traced: %s; install mediaray[tracing]", error)
        return
    _spans = Spans(endpoint, part)


def span(
    name: str, about: Mapping[str, str], parent: str | None = None, dropped: tuple[type[Exception], ...] = ()
) -> AbstractContextManager[None]:
    """A span of what is done meanwhile, below ``parent`` (see ``traceparent``) or else the one that this is in.

    It tells its outcome: ``done``, ``failed`` with the type of the error, whose message may name files, or ``dropped``
    at one of these errors.
    """
    return contextlib.nullcontext() if _spans is None else _spans.span(name, about, parent, dropped)


def traceparent() -> str | None:
    """The span that this is in, as W3C's Trace Context writes it; None where nothing is traced."""
    return None if _spans is None else _spans.traceparent()


def trace_id(parent: str | None) -> dict[str, str]:
    """What a line of log tells of a span, ``00-TRACE-SPAN-FLAGS``: its trace."""
    return {} if parent is None else {"trace_id": parent[3:35]}
