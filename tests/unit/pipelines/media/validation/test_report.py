import pytest

from pipelines.media.validation.finding_log import FindingLog
from pipelines.media.validation.report import (
    Checked,
    Finding,
    StreamReport,
    conclude,
    folded,
    listed,
    merge,
    verdict_of,
)


def finding(code: str = "gap", **changes: object) -> Finding:
    return Finding.model_validate({"code": code, "severity": "warning", "message": "Time is missing.", **changes})


def noted(*times_s: float) -> Finding:
    log = FindingLog()
    for time_s in times_s:
        log.add("frame_concealed", 0, time_s, f"at {time_s}")
    (one,) = log
    return one


def test_what_is_met_again_is_one_finding_with_its_first_and_last_time() -> None:
    one = noted(3.0, 1.0, 2.0)
    assert (one.time_s, one.last_s, one.count) == (1.0, 3.0, 3)


def test_the_evidence_is_that_of_the_first_time() -> None:
    assert noted(3.0, 4.0).evidence == "at 3.0"


def test_streams_are_told_apart() -> None:
    log = FindingLog()
    log.add("gap", 0, 1.0)
    log.add("gap", 1, 1.0)
    assert [each.stream for each in log] == [0, 1]


def test_evidence_is_short() -> None:
    log = FindingLog()
    log.add("decoder_error", 0, 0.0, "x" * 10_000)
    assert len(next(iter(log)).evidence or "") == 200


def test_a_code_that_means_nothing_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        FindingLog().add("mood")


@pytest.mark.parametrize(
    ("severities", "verdict"),
    [([], "ok"), (["info"], "ok"), (["info", "warning"], "suspect"), (["warning", "error"], "broken")],
)
def test_the_worst_finding_decides(severities: list[str], verdict: str) -> None:
    assert verdict_of(finding(severity=severity) for severity in severities) == verdict


def test_pieces_of_one_kind_are_folded_over_parts() -> None:
    pieces = [
        Checked(findings=(finding(stream=0, time_s=8.0, last_s=9.0, count=2, evidence="late"),)),
        Checked(findings=(finding(stream=0, time_s=1.0, last_s=1.0, evidence="early"),)),
    ]
    (one,) = merge(pieces).findings
    assert (one.time_s, one.last_s, one.count, one.evidence) == (1.0, 9.0, 3, "early")


def test_the_worst_come_first_and_then_the_earliest() -> None:
    findings = folded(
        (
            finding("gap", time_s=1.0),
            finding("cut_off", severity="error", time_s=9.0),
            finding("unreadable", severity="error"),
            finding("container_odd", severity="info", time_s=0.0),
        )
    )
    assert [each.code for each in findings] == ["unreadable", "cut_off", "gap", "container_odd"]


def test_counts_of_a_stream_are_added_up() -> None:
    packets = StreamReport(index=0, kind="video", codec="h264", packets=50, begin_s=0.0, end_s=2.0)
    parts = [StreamReport(index=0, kind="video", codec="h264", frames=frames) for frames in (20, 30)]
    (stream,) = merge([Checked(streams=(each,)) for each in (packets, *parts)]).streams
    assert (stream.packets, stream.frames, stream.end_s) == (50, 50, 2.0)


def test_the_list_is_bounded() -> None:
    findings, unlisted = listed(folded(finding(stream=number) for number in range(150)))
    assert (len(findings), unlisted) == (100, 50)


def test_a_stream_that_gives_no_frame_is_broken() -> None:
    checked = Checked(streams=(StreamReport(index=0, kind="audio", codec="aac", packets=9),))
    assert conclude(checked, level="full", packets_read="all", decoded="all").verdict == "broken"


def test_a_stream_of_data_gives_no_frames() -> None:
    checked = Checked(streams=(StreamReport(index=0, kind="data", packets=9),))
    assert conclude(checked, level="full", packets_read="all", decoded="all").verdict == "ok"
