"""What a person is told of a comparison."""

import pytest

from pipelines.jobs.operations.compare import OPERATION
from pipelines.media.comparison.compare_spec import (
    Alignment,
    CompareResult,
    FrameCounts,
    PsnrScores,
    Verdict,
    XpsnrScores,
)


def told(
    verdict: Verdict = "same", psnr: PsnrScores | None = None, xpsnr: XpsnrScores | None = None
) -> dict[str, object]:
    result = CompareResult(
        verdict=verdict,
        message="A test.",
        alignment=Alignment(verdict=verdict, offset_s=0, confidence=1, fit=1, sharpness=1, found="times"),
        frames=FrameCounts(reference=1, distorted=1, compared=1, reference_alone=0, distorted_alone=0, identical=1),
        model="vmaf_v0.6.1",
        width=96,
        height=64,
        pixel_format="yuv420p",
        psnr=psnr,
        xpsnr=xpsnr,
    )
    assert OPERATION.told is not None
    return dict(OPERATION.told(result.model_dump(mode="json")))


@pytest.mark.parametrize(
    ("verdict", "films"),
    [("same", "both show the same film"), ("doubtful", "doubtful that both"), ("different", "show different films")],
)
def test_the_verdict_is_told_as_what_it_is_about(verdict: Verdict, films: str) -> None:
    found = told(verdict)
    assert films in str(found["films"])
    assert "verdict" not in found


def test_where_nothing_differs_decibels_are_told_to_be_infinite() -> None:
    found = told(
        psnr=PsnrScores(average_db=None, y_db=None, u_db=None, v_db=None, min_db=None),
        xpsnr=XpsnrScores(y_db=40.5, u_db=None, v_db=None, min_y_db=38.0),
    )
    infinite = "infinite: no pixel differs"
    assert found["psnr"] == infinite
    assert found["xpsnr"] == {"y_db": 40.5, "u_db": infinite, "v_db": infinite, "min_y_db": 38.0}


def test_what_was_not_measured_is_not_told() -> None:
    assert told()["psnr"] is None
