"""Every clip of the shared collection: probed against its catalogue, transcoded and compared frame by frame."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import media_factory as factory
import pytest

from pipelines.media.errors import MediaError
from pipelines.media.plan import TranscodePlan
from pipelines.media.probing.probe import probe
from pipelines.media.results import TranscodeResult

Transcode = Callable[..., tuple[Path, TranscodeResult]]
Plan = Callable[..., TranscodePlan]

SHARED = Path(__file__).parents[5] / "shared" / "media"
LONG = "h264_aac_1080p_363s_lowbitrate.mp4"  # its frames are compared in the bench, not here
COPIED = (
    "h264_aac.flv",
    "h264_aac51_720p_bbb.mp4",
    "h264_aac_768x432_30s_cars.mp4",
    "h264_ac3_ass_subtitles.mkv",
    "h264_ac3_pgs_subtitles.mkv",
    "h264_ac3_srt_subtitles.mkv",
    "h264_cover_art_png.mp4",
    "h264_edit_list_preroll.mp4",
    "h264_fragmented.mp4",
    "h264_two_video_two_audio_subs.mp4",
)
BAD = {
    "failing_audio.mp4": None,
    "invalid_nalu.mp4": None,
    "invalid_vp9_bitstream.webm": "source_unreadable",
    "malformed_free_box.mp4": "source_truncated",
    "mdat_too_long.mp4": None,
    "missing_stsd.mp4": None,
    "truncated_after_moov.m4b": "source_truncated",
    "zero_bytes.webm": "source_empty",
}


def _catalogue() -> list[dict[str, str]]:
    if not SHARED.is_dir():
        return []
    with (SHARED / "catalogue.tsv").open() as lines:
        return [row for row in csv.DictReader(lines, delimiter="\t") if row["path"].startswith("video/")]


CLIPS = _catalogue()
needs_clips = pytest.mark.skipif(not CLIPS, reason=f"the shared clips aren't at {SHARED}")


def _named(rows: list[dict[str, str]]) -> list[object]:
    return [pytest.param(row, id=row["path"].removeprefix("video/")) for row in rows]


@needs_clips
@pytest.mark.parametrize("row", _named(CLIPS))
def test_a_clip_is_as_its_catalogue_says(row: dict[str, str]) -> None:
    info = probe(SHARED / row["path"])
    codecs = [re.sub(r"[(:].*", "", codec) for codec in row["codecs"].split("+")]
    assert info.size_bytes == int(row["bytes"])
    assert [s.codec or s.kind for s in info.streams] == codecs
    if row["width_x_height"]:
        assert info.video is not None
        assert f"{info.video.width}x{info.video.height}" == row["width_x_height"]
    assert info.duration_s is not None
    assert 0.2 < info.duration_s < 400


@needs_clips
@pytest.mark.parametrize("row", _named([row for row in CLIPS if row["width_x_height"] and LONG not in row["path"]]))
def test_an_encoded_clip_keeps_its_frames_and_their_times(row: dict[str, str], transcoded: Transcode) -> None:
    target, result = transcoded(SHARED / row["path"], "web-720p", preset="ultrafast", crf=30)
    assert factory.frame_times(target) == factory.frame_times(SHARED / row["path"])
    assert result.decode_errors == 0


@needs_clips
@pytest.mark.parametrize("name", COPIED)
def test_a_copied_clip_keeps_its_frames_and_their_times(name: str, planned: Plan, transcoded: Transcode) -> None:
    source = SHARED / "video" / name
    plan = planned(source)
    assert plan.video is not None
    assert plan.video.action == "copy"
    target, _ = transcoded(source)
    assert factory.frame_times(target) == factory.frame_times(source)


@needs_clips
def test_a_long_clip_is_cut_quickly(transcoded: Transcode) -> None:
    target, result = transcoded(SHARED / "video" / LONG, start=300, end=302, height=180, preset="ultrafast", crf=30)
    assert result.video_frames == 60
    assert len(factory.frame_times(target)) == 60


@needs_clips
def test_sound_alone_passes(transcoded: Transcode) -> None:
    _, result = transcoded(SHARED / "video" / "audio_only_aac.mp4")
    assert (result.video_codec, result.audio_codecs) == (None, ("aac",))


@needs_clips
@pytest.mark.parametrize("encoded", [False, True], ids=["as-planned", "encoded"])
@pytest.mark.parametrize(("name", "code"), BAD.items())
def test_a_bad_clip_gives_its_error_or_a_whole_output(
    name: str, code: str | None, encoded: bool, transcoded: Transcode
) -> None:
    quick = {"preset": "ultrafast", "crf": 30} if encoded and not name.endswith("m4b") else {}
    if code is None:
        target, result = transcoded(SHARED / "bad" / "video" / name, **quick)
        assert target.stat().st_size == result.size_bytes > 0
        return
    with pytest.raises(MediaError) as caught:
        transcoded(SHARED / "bad" / "video" / name, **quick)
    assert caught.value.code == code


@needs_clips
@pytest.mark.parametrize("quick", [{}, {"preset": "ultrafast", "crf": 30}], ids=["as-planned", "encoded"])
@pytest.mark.parametrize("name", ["invalid_nalu.mp4", "missing_stsd.mp4"])
def test_a_fault_that_is_passed_over_is_told(name: str, quick: dict[str, object], transcoded: Transcode) -> None:
    _, result = transcoded(SHARED / "bad" / "video" / name, **quick)
    assert result.warnings
