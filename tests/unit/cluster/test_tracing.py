"""Tracing is set up once in a process, so most of this is done in one of its own."""

import subprocess
import sys

import pytest
from otlp import Span, collector

from cluster.tracing import span, trace_id, trace_to, traceparent

PROGRAM = """
import sys
from cluster.tracing import span, trace_to, traceparent
trace_to(sys.argv[1], "test")
with span("outer", {"job": "j"}):
    within = traceparent()
for error in (ValueError("/films/film.mkv"), KeyError("/films/film.mkv")):
    try:
        with span(type(error).__name__, {}, within, dropped=(KeyError,)):
            raise error
    except type(error):
        pass
print(within)
"""
UNTRACED = """
import sys
from cluster.tracing import span, trace_to
trace_to(None, "test")
with span("outer", {}):
    print([name for name in sys.modules if name.startswith(("cluster.spans", "opentelemetry"))])
"""
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def run(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_spans_are_sent_with_what_they_are_below_and_how_they_ended():
    def all_three(spans: list[Span]) -> dict[str, Span] | None:
        return {each.name: each for each in spans} if len(spans) == 3 else None

    with collector() as told:
        within = run(PROGRAM, f"{told.url}/")
        spans = told.wait_for(all_three)
    outer, failed, dropped = spans["outer"], spans["ValueError"], spans["KeyError"]
    assert within.startswith(f"00-{outer.trace}-{outer.id}-")
    assert {(each.trace, each.parent) for each in (failed, dropped)} == {(outer.trace, outer.id)}
    assert outer.attributes == {"mediaray.job": "j", "mediaray.outcome": "done"}
    assert failed.attributes == {"error.type": "ValueError", "mediaray.outcome": "failed"}
    assert dropped.attributes == {"mediaray.outcome": "dropped"}
    assert (outer.parent, outer.part) == ("", "test")
    assert trace_id(within) == {"trace_id": outer.trace}


def test_a_collector_that_is_away_harms_nothing():
    assert run(PROGRAM, "http://127.0.0.1:9").startswith("00-")


def test_without_an_endpoint_nothing_of_it_is_loaded():
    assert run(UNTRACED) == "[]"


def test_where_nothing_is_traced_errors_go_through():
    trace_to(None, "test")
    with pytest.raises(ValueError, match="no"), span("outer", {}, PARENT):
        raise ValueError("no")
    assert traceparent() is None
    assert trace_id(None) == {}
