"""A trace of a whole server, sent to a real collector: from a request to the units of its job."""

import json

from clips import make_clip
from live_server import live_server
from otlp import Span, collector

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OTHER = "0af7651916cd43dd8448eb211c80319c"


def whole(spans: list[Span]) -> dict[str, Span] | None:
    """The spans of the job by name, once all its ends have come, and what its worker tells."""
    named = {span.name: span for span in spans if span.trace == TRACE}
    come = {*named, *(span.part for span in named.values())}
    return named if {"POST /v1/jobs", "submit transcode", "unit join", "unit publish", "worker"} <= come else None


def test_a_job_s_units_are_below_the_request_that_submitted_it():
    with (
        collector() as told,
        live_server(MEDIARAY_OTLP_ENDPOINT=told.url, MEDIARAY_LOG_FORMAT="json") as server,
    ):
        clip, text = make_clip(server.folder / "clip.mkv", seconds=1), server.folder / "text.mkv"
        text.write_bytes(b"no film at all")

        def submit(operation: str, source: object, trace: str, **params: str) -> dict[str, str]:
            body = {"operation": operation, "source": str(source), "params": params}
            answer = server.post("/v1/jobs", body, headers={"traceparent": f"00-{trace}-{CALLER}-01"})
            return server.wait(answer.json()["id"])

        server.get("/v1/media", params={"source": str(clip)})
        job = submit("transcode", clip, TRACE, output=str(server.folder / "clip.mp4"))
        assert job["state"] == "succeeded"
        assert submit("probe", text, OTHER)["state"] == "failed"

        spans: dict[str, Span] = told.wait_for(whole)
        request, accepted = spans["POST /v1/jobs"], spans["submit transcode"]
        units = [span for span in spans.values() if span.name.startswith("unit ")]
        assert (request.part, request.parent) == ("edge", CALLER)
        assert (accepted.part, accepted.parent) == ("edge", request.id)
        assert {span.parent for span in units} == {accepted.id}
        assert {"worker"} <= {span.part for span in units} <= {"worker", "runner"}
        for span in units:
            about = {"job": job["id"], "operation": "transcode", "unit": span.name[5:], "outcome": "done"}
            assert span.attributes == {f"mediaray.{key}": value for key, value in about.items()}

        failed = told.wait_for(lambda spans: [span for span in spans if "error.type" in span.attributes])
        assert [(span.trace, span.attributes["mediaray.outcome"]) for span in failed] == [(OTHER, "failed")]
        lines = [json.loads(line) for line in (server.home / "logs" / "up.log").read_text().splitlines()]
        about_it = {line["logger"] for line in lines if line.get("trace_id") == OTHER}
        assert about_it == {"mediaray.worker", "mediaray.dispatcher"}

        media = told.wait_for(lambda spans: [span for span in spans if span.name == "GET /v1/media"])[0]
        assert media.attributes["url.query"] == "REDACTED"
        assert not [span for span in told.spans if "health" in span.name]
        assert server.token not in str(told.spans)
        assert clip.name not in str(told.spans)
