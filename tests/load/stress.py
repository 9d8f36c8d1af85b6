"""The profile ``stress``: more than the server can do. It sheds, loses nothing it accepted, and recovers."""

from typing import Any

from tests.live_server import LiveServer, until
from tests.load.crowd import GET_P99_MS, buckets
from tests.load.helpers import Asked, Crowd, active
from tests.load.material import Material
from tests.load.plots import Plot
from tests.load.report import Line, Section, percentile

_SHED = (429, 503)
_RECOVERY_S = 10.0
_DRAIN_S = 600.0


def stress(
    server: LiveServer, material: Material, users: int, calm_users: int, seconds: float, pause: float
) -> Section:
    """Scripts without a pause, then people, who think ``pause`` times as long as usual."""

    def run(kind: str, count: int, ramp_s: float, length_s: float) -> Asked:
        crowd = Crowd.of(
            server.url,
            server.headers,
            material,
            server.folder,
            kind,
            users=count,
            ramp_s=ramp_s,
            seconds=length_s,
            pause=pause,
            seed=2,
        )
        try:
            return crowd.asked()
        finally:
            crowd.helper.end()

    hurried = run("hurried", users, max(1.0, users / 200), seconds)
    calm = run("viewer", calm_users, 1.0, max(2 * _RECOVERY_S, seconds / 2))
    kept = _drained(server, hurried.accepted)
    shed = [each for each in hurried.samples if each[3] in _SHED]
    done = [each for each in hurried.measured() if 200 <= each[3] < 400]
    wrong = [each for each in hurried.samples if each[5] and each[3] not in _SHED]
    late = [each[2] for each in calm.samples if each[0] > hurried.ended + _RECOVERY_S and each[1].startswith("GET")]
    section = Section(f"stress: {users} scripts without a pause for {hurried.seconds:.0f} s, then {calm_users} people")
    section.lines = [
        Line("requests done a second", len(done) / hurried.seconds, "/s"),
        Line("done, p50", percentile([each[2] for each in done], 50), "ms"),
        Line("done, p99", percentile([each[2] for each in done], 99), "ms"),
        Line("requests shed, 429 or 503", len(shed), least=1),
        Line("of these without Retry-After", sum(not each[4] for each in shed), most=0),
        Line("failed otherwise", len(wrong), most=0),
        Line("jobs accepted", len(hurried.accepted)),
        Line("of these unknown afterwards, or not ended well", len(hurried.accepted) - kept, most=0),
        Line(f"GET from {_RECOVERY_S:.0f} s after it, p99", percentile(late, 99), "ms", most=GET_P99_MS),
        Line("requests failed afterwards", len([each for each in calm.failed() if _late(each, hurried)]), most=0),
    ]
    section.failures = [f"{name}: {status} {error}" for _, name, _, status, _, error in wrong[:5]]
    if kept < len(hurried.accepted):
        section.failures.append(f"{len(hurried.accepted) - kept} accepted jobs didn't end well")
    began = hurried.began
    gets = [(each[0] - began, each[2]) for each in (*done, *calm.samples) if each[1].startswith("GET")]
    lines = {f"GET p{percent}": list(buckets(gets, percent)) for percent in (50, 99)}
    section.plots["stress"] = Plot("Past the limit, and after it", "seconds", "ms", lines, log_y=True)
    return section


def _late(sample: list[Any], hurried: Asked) -> bool:
    return bool(sample[0] > hurried.ended + _RECOVERY_S)


def _drained(server: LiveServer, accepted: list[str]) -> int:
    """Wait until all jobs have ended; how many of those that were accepted succeeded."""
    with server.client() as client:
        until(lambda: not active(client), _DRAIN_S, lambda: "jobs don't end")
        return sum(client.get(f"/v1/jobs/{job_id}").json().get("state") == "succeeded" for job_id in accepted)
