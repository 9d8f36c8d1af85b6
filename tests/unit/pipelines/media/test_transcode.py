from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import media_factory as factory
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.media import encoding
from pipelines.media.errors import (
    EncodeError,
    EncoderUnavailableError,
    OutOfSpaceError,
    OutputInvalidError,
    SourceTruncatedError,
    SourceUnreadableError,
)
from pipelines.media.plan import TranscodePlan
from pipelines.media.probing.probe import probe
from pipelines.media.progress import Progress
from pipelines.media.results import TranscodeResult
from pipelines.media.transcode import transcode
from pipelines.media.verify import verify_output

Transcode = Callable[..., tuple[Path, TranscodeResult]]
Plan = Callable[..., TranscodePlan]

QUICK = {"preset": "ultrafast", "crf": 10}


def test_every_frame_arrives_once_and_in_order(grey_ramp: Path, transcoded: Transcode) -> None:
    target, result = transcoded(grey_ramp, **QUICK)
    found = factory.levels(target)
    assert result.video_frames == 50
    assert found == pytest.approx([factory.ramp_level(i) for i in range(50)], abs=2)


def test_variable_frame_times_are_kept_exactly(tmp_path: Path, transcoded: Transcode) -> None:
    times = [0, 1, 2, 40, 41, 90, 10_000, 10_001, 50_000, 54_000, 90_001]
    clip = factory.write_video(
        tmp_path / "vfr.mp4",
        [factory.grey(factory.ramp_level(i)) for i in range(len(times))],
        pts=times,
        time_base=Fraction(1, 90_000),
    )
    target, _ = transcoded(clip, **QUICK)
    assert factory.frame_times(target) == [Fraction(time, 90_000) for time in times]


def test_long_still_frames_of_mp4_may_be_reordered(tmp_path: Path, transcoded: Transcode) -> None:
    times = [sum((3000, 90_000, 2000, 180_000, 9000)[i % 5] for i in range(frame)) for frame in range(38)]
    slides = factory.film(tmp_path / "slides.mkv", frames=38, pts=times, time_base=Fraction(1, 90_000))
    target, _ = transcoded(slides, preset="medium", crf=25)
    assert factory.frame_times(target) == factory.frame_times(slides)


@pytest.mark.parametrize("samples", [1, 10])
def test_a_last_packet_of_a_few_samples_is_within_the_film(tmp_path: Path, transcoded: Transcode, samples: int) -> None:
    film = factory.rich_film(tmp_path / "film.mkv", duration_s=1.5)
    target, _ = transcoded(film, end=(46 * 1024 + samples) / factory.SAMPLE_RATE_HZ, **QUICK)
    with av.open(str(target)) as output:
        packets = [packet for packet in output.demux(audio=0) if packet.size]
    assert (packets[-1].duration, len(packets)) == (samples, 48)  # one of them is the encoder's delay


def test_a_late_picture_stays_late(tmp_path: Path, transcoded: Transcode) -> None:
    film = factory.rich_film(tmp_path / "late.mkv", video_start_s=0.52)
    target, _ = transcoded(film, **QUICK)
    assert factory.frame_times(target)[0] == Fraction(52, 100)
    assert factory.click_times(target) == pytest.approx([1, 2], abs=0.001)


@pytest.mark.parametrize("profile", ["web-720p", "archive-hevc", "webm-vp9", "av1-1080p"])
def test_sound_keeps_its_place(rich_film: Path, transcoded: Transcode, profile: str) -> None:
    target, _ = transcoded(rich_film, profile)
    start_s = min(s.start_s or 0 for s in probe(target).streams if s.kind in {"video", "audio"})
    assert [t - start_s for t in factory.click_times(target, track=1)] == pytest.approx([1, 2], abs=0.001)
    assert len(factory.frame_times(target)) == 100


@pytest.mark.parametrize("profile", ["archive-hevc", "web-720p"])
def test_sound_becomes_flac_without_loss(tmp_path: Path, transcoded: Transcode, profile: str) -> None:
    clip = factory.write_sound(tmp_path / "clicks.wav", [(0, factory.clicks(2, (0.5, 1)))])
    target, _ = transcoded(clip, profile, audio_codec="flac")
    assert np.array_equal(factory.sound(target)[2], factory.sound(clip)[2])


def test_a_gap_in_the_sound_becomes_silence(tmp_path: Path, transcoded: Transcode) -> None:
    first, second = factory.clicks(1, (0.5,)), factory.clicks(1, (0.5,))
    clip = factory.write_sound(tmp_path / "gap.mkv", [(0, first), (2.25, second)])
    target, _ = transcoded(clip, "audio-opus")
    assert factory.click_times(target) == pytest.approx([0.5, 2.75], abs=0.002)


def test_picture_and_sound_end_together(rich_film: Path, transcoded: Transcode) -> None:
    target, _ = transcoded(rich_film, **QUICK)
    info = probe(target)
    frame_s = 1024 / 48_000
    assert info.video is not None
    assert info.video.duration_s == pytest.approx(4, abs=0.001)
    assert info.audio[0].duration_s == pytest.approx(4, abs=frame_s)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_orientation_is_applied_once_and_its_mark_removed(
    tmp_path: Path, transcoded: Transcode, degrees: int, mirrored: bool
) -> None:
    clip = factory.write_video(tmp_path / "turned.mp4", [factory.quadrants()] * 3, rotation=(degrees, mirrored))
    target, _ = transcoded(clip, **QUICK)
    video = probe(target).video
    assert video is not None
    assert (video.rotation_deg, video.mirrored) == (0, False)
    assert _corners(target) == pytest.approx(_shown_corners(degrees, mirrored), abs=4)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_crop_is_of_the_picture_as_shown(tmp_path: Path, transcoded: Transcode, degrees: int, mirrored: bool) -> None:
    clip = factory.write_video(tmp_path / "turned.mp4", [factory.quadrants()] * 3, rotation=(degrees, mirrored))
    width, height = (64, 96) if degrees % 180 else (96, 64)
    left, top = width // 2 - 8, height // 2 - 24  # a quarter of what is kept is left of the middle, below it a quarter
    target, result = transcoded(clip, crop=f"32x32+{left}+{top}", **QUICK)
    corners = _shown_corners(degrees, mirrored)
    picture = factory.lumas(target)[0]
    assert (result.width, result.height) == picture.shape[::-1] == (32, 32)
    found = [float(picture[y, x]) for y, x in ((2, 2), (2, 29), (29, 2), (29, 29))]
    assert found == pytest.approx(corners, abs=4)
    assert float(picture[2, 12]) == pytest.approx(corners[1], abs=4)
    assert float(picture[20, 2]) == pytest.approx(corners[0], abs=4)


def test_a_crop_counts_square_pixels(tmp_path: Path, transcoded: Transcode) -> None:
    clip = factory.write_video(tmp_path / "wide.mp4", [factory.quadrants()] * 3, aspect=Fraction(4, 3))
    target, _ = transcoded(clip, crop="64x32+64+32", **QUICK)  # the lower right quarter of 128x64
    picture = factory.lumas(target)[0]
    assert picture.shape == (32, 64)
    assert picture == pytest.approx(np.full((32, 64), 190), abs=4)


def test_what_is_cropped_is_scaled_after_that(tmp_path: Path, transcoded: Transcode) -> None:
    clip = factory.write_video(tmp_path / "quarters.mkv", [factory.quadrants()] * 3)
    target, result = transcoded(clip, crop="48x32+48+0", height=16, **QUICK)
    assert (result.width, result.height) == (24, 16)
    assert factory.levels(target) == pytest.approx([90] * 3, abs=2)


def _corners(path: Path) -> list[float]:
    picture = factory.lumas(path)[0]
    height, width = picture.shape
    places = [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)]
    return [float(picture[round(y * height), round(x * width)]) for y, x in places]


def _shown_corners(degrees: int, mirrored: bool) -> list[float]:
    corners = np.rot90(np.array([[40, 90], [140, 190]]), degrees // 90)  # rot90 turns counter-clockwise
    return [float(level) for level in (np.fliplr(corners) if mirrored else corners).ravel()]


def test_pixels_become_square(tmp_path: Path, transcoded: Transcode) -> None:
    clip = factory.grey_ramp(tmp_path / "wide.mp4", frames=3, aspect=Fraction(4, 3))
    target, result = transcoded(clip, **QUICK)
    video = probe(target).video
    assert video is not None
    assert (video.width, video.height, video.sample_aspect_ratio) == (128, 64, "1:1")
    assert (result.width, result.height) == (128, 64)


def test_everything_else_comes_along(rich_film: Path, transcoded: Transcode) -> None:
    target, result = transcoded(rich_film, **QUICK)
    info = probe(target)
    assert [(s.kind, s.codec, s.language) for s in info.streams[:4]] == [
        ("video", "h264", None), ("audio", "aac", "eng"), ("audio", "aac", "ger"), ("subtitle", "mov_text", "fre"),
    ]  # fmt: skip
    assert [(c.start_s, c.end_s, c.title) for c in info.chapters] == [(0, 1.5, "One"), (1.5, 4, "Two")]
    assert info.tags["title"] == "A rich film"
    assert info.audio[1].title == "Kommentar"
    assert (info.audio[0].default, info.audio[1].default) == (True, False)
    assert result.audio_codecs == ("aac", "aac")


@pytest.mark.parametrize("profile", ["web-720p", "webm-vp9", "archive-hevc"])
def test_subtitles_keep_text_and_times(rich_film: Path, transcoded: Transcode, profile: str) -> None:
    target, _ = transcoded(rich_film, profile)
    assert _subtitles(target) == [(0.5, 1.0, "Bonjour"), (2.0, 1.0, "Au revoir")]


def _subtitles(path: Path) -> list[tuple[float, float, str]]:
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        for packet in container.demux(stream):
            texts = [s.dialogue.decode() for s in stream.codec_context.decode(packet)] if packet.size else []
            found += [
                (float(packet.pts * packet.time_base), float(packet.duration * packet.time_base), text)
                for text in texts
                if text
            ]
    return found


def test_a_cut_is_exact(rich_film: Path, transcoded: Transcode) -> None:
    target, result = transcoded(rich_film, start=1.4, end="0:03")
    assert result.video_frames == 40
    assert factory.levels(target)[0] == pytest.approx(factory.ramp_level(35), abs=2)
    assert factory.click_times(target) == pytest.approx([0.6], abs=0.001)
    info = probe(target)
    assert [(c.start_s, c.title) for c in info.chapters] == [(0, "One"), (0.1, "Two")]
    assert _subtitles(target) == [(0, pytest.approx(0.1), "Bonjour"), (pytest.approx(0.6), 1.0, "Au revoir")]


def test_a_frame_rate_cap_drops_frames_evenly(grey_ramp: Path, transcoded: Transcode) -> None:
    target, result = transcoded(grey_ramp, frame_rate=5, **QUICK)
    assert result.video_frames == 10
    assert factory.frame_times(target) == [Fraction(i, 5) for i in range(10)]


def test_interlaced_pictures_are_deinterlaced_frame_by_frame(tmp_path: Path, transcoded: Transcode) -> None:
    pictures = [factory.grey(60) for _ in range(6)]
    for number, picture in enumerate(pictures):  # a bright edge moves 6 pixels from field to field
        picture[: factory.HEIGHT : 2, : 12 * number] = 180
        picture[1 : factory.HEIGHT : 2, : 12 * number + 6] = 180
    options = {"qp": "0", "x264-params": "tff=1", "flags": "+ildct+ilme"}
    clip = factory.write_video(tmp_path / "fields.mkv", pictures, options=options)
    target, result = transcoded(clip, **QUICK)
    assert result.video_frames == 6
    assert _combing(factory.lumas(clip)[3]) > 100
    assert _combing(factory.lumas(target)[3]) < 20


def _combing(picture: NDArray[np.float64]) -> float:
    """The largest mean step from line to line in any column."""
    return float(np.abs(np.diff(picture[10:50], axis=0)).mean(axis=0).max())


def test_colours_are_carried_over(tmp_path: Path, transcoded: Transcode) -> None:
    options = {"qp": "0", "color_primaries": "bt470bg", "color_trc": "gamma28", "colorspace": "bt470bg"}
    clip = factory.grey_ramp(tmp_path / "pal.mkv", frames=3, options=options)
    target, _ = transcoded(clip, **QUICK)
    video = probe(target).video
    assert video is not None
    assert (video.color_primaries, video.color_transfer, video.color_space) == ("bt470bg", "gamma28", "bt470bg")


def test_sources_without_mark_of_their_range_keep_full_range(tmp_path: Path, transcoded: Transcode) -> None:
    clip = factory.grey_ramp(
        tmp_path / "full.mkv", frames=30, codec="mjpeg", options={"qscale": "2"}, pixel_format="yuvj420p"
    )
    target, _ = transcoded(clip, **QUICK)
    video = probe(target).video
    assert video is not None
    assert video.color_range == "pc"


@pytest.mark.parametrize("audio_codec", ["copy", "opus"])
def test_mp4_keeps_a_cover(audio_codec: str, shared_video: Path, transcoded: Transcode) -> None:
    source = shared_video / "h264_cover_art_png.mp4"
    target, _ = transcoded(source, "web-1080p", audio_codec=audio_codec)
    assert _cover_of(target) == _cover_of(source)
    assert probe(target).cover is not None


def _cover_of(path: Path) -> bytes:
    with av.open(str(path)) as container:
        stream = container.streams.video[1]
        return next(bytes(packet) for packet in container.demux(stream) if packet.size)


def test_matroska_keeps_a_cover_as_an_attachment(shared_video: Path, transcoded: Transcode) -> None:
    target, _ = transcoded(shared_video / "h264_cover_art_png.mp4", "archive-hevc", preset="ultrafast")
    cover = probe(target).cover
    assert cover is not None
    assert (cover.codec, cover.width) == ("png", 240)


def test_hdr_metadata_is_kept(shared_video: Path, transcoded: Transcode) -> None:
    source = shared_video / "av1_10bit_hdr10_1080p60.mp4"
    target, _ = transcoded(source, "archive-hevc", preset="ultrafast", height=180)
    original, video = probe(source).video, probe(target).video
    assert original is not None
    assert video is not None
    assert (video.hdr, video.pixel_format) == ("hdr10", "yuv420p10le")
    assert video.mastering_display == original.mastering_display
    assert video.content_light == original.content_light


def test_mapped_hdr_is_as_bright_as_it_looks(shared_video: Path, transcoded: Transcode) -> None:
    target, _ = transcoded(shared_video / "hevc_10bit_hlg_dolbyvision_rot90.mp4", height=180, **QUICK)
    video = probe(target).video
    assert video is not None
    assert (video.hdr, video.color_transfer, video.pixel_format) == ("sdr", "bt709", "yuv420p")
    assert 100 < factory.levels(target)[4] < 160  # a bright table by a window


def test_progress_rises_to_one(grey_ramp: Path, planned: Plan, tmp_path: Path) -> None:
    seen: list[Progress] = []
    transcode(grey_ramp, tmp_path / "out.mp4", planned(grey_ramp, **QUICK), seen.append)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert seen[-1].frames == 50


def test_the_index_comes_first_in_mp4(grey_ramp: Path, transcoded: Transcode) -> None:
    target, _ = transcoded(grey_ramp, **QUICK)
    data = target.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_cut_off_matroska_is_truncated(tmp_path: Path, rich_film: Path, planned: Plan) -> None:
    data = rich_film.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    plan = planned(tmp_path / "cut.mkv", **QUICK)
    with pytest.raises(SourceTruncatedError):
        transcode(tmp_path / "cut.mkv", tmp_path / "out.mp4", plan, lambda _: None)


CUT_OFF_SOUND = {"flac": "flac", "mka": "flac"}


@pytest.mark.parametrize("suffix", CUT_OFF_SOUND)
@pytest.mark.parametrize("part", [{"start": 1}, {"start": 1, "end": 15}])
def test_cut_off_sound_is_truncated_where_its_end_is_wanted(
    tmp_path: Path, transcoded: Transcode, suffix: str, part: dict[str, object]
) -> None:
    with pytest.raises(SourceTruncatedError):
        transcoded(_cut_off_sound(tmp_path, suffix), "audio-mp3", **part)


@pytest.mark.parametrize("suffix", CUT_OFF_SOUND)
def test_a_part_that_ends_before_sound_is_cut_off_is_made(tmp_path: Path, transcoded: Transcode, suffix: str) -> None:
    _, result = transcoded(_cut_off_sound(tmp_path, suffix), "audio-mp3", start=1, end=3)
    assert result.duration_s == pytest.approx(2, abs=0.06)


def _cut_off_sound(folder: Path, suffix: str) -> Path:
    """Of 20 s, less than 11 are left."""
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, (2, 20 * factory.SAMPLE_RATE_HZ)).astype(np.float32)
    whole = factory.write_sound(folder / f"whole.{suffix}", [(0, noise)], codec=CUT_OFF_SOUND[suffix])
    cut = folder / f"cut.{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return cut


def test_a_cut_off_mp4_is_refused_before_any_work(tmp_path: Path, rich_film: Path, transcoded: Transcode) -> None:
    whole, _ = transcoded(rich_film, **QUICK)
    data = whole.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[:-2000])
    with pytest.raises(SourceTruncatedError, match="index"):
        transcoded(tmp_path / "cut.mp4", **QUICK)


def test_a_file_of_which_nothing_decodes_is_unreadable(tmp_path: Path, grey_ramp: Path, transcoded: Transcode) -> None:
    with av.open(str(grey_ramp)) as container, av.open(str(tmp_path / "noise.mkv"), "w") as output:
        stream = output.add_stream_from_template(container.streams.video[0], opaque=True)
        for number in range(20):
            packet = av.Packet(b"\x00\x00\x00\x10" + b"\x65\xff" * 8)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 25)
            packet.duration = 1
            output.mux(packet)
    with pytest.raises(SourceUnreadableError):
        transcoded(tmp_path / "noise.mkv", **QUICK)


def test_damage_is_concealed_and_its_time_told(tmp_path: Path, transcoded: Transcode) -> None:
    clip = factory.grey_ramp(tmp_path / "whole.mkv", codec="ffv1", options={"g": "1"})
    _, result = transcoded(factory.with_noise(clip, tmp_path / "hole.mkv", [20, 30]), **QUICK)
    assert result.decode_errors == 2
    assert result.damaged_at_s[0] == pytest.approx(0.8, abs=0.2)  # frames are decoded on several threads at once
    assert f"2 errors were concealed while reading the source, the first at {result.damaged_at_s[0]:.1f} s" in str(
        result.warnings
    )


@pytest.mark.parametrize("number", [1, 20])
def test_damage_ends_the_work_if_it_is_to(tmp_path: Path, transcoded: Transcode, number: int) -> None:
    clip = factory.grey_ramp(tmp_path / "whole.mkv", codec="ffv1", options={"g": "1"})
    hole = factory.with_noise(clip, tmp_path / "hole.mkv", [number])
    with pytest.raises(SourceUnreadableError, match="set damage to conceal"):
        transcoded(hole, damage="fail", **QUICK)


def test_a_whole_film_passes_where_damage_ends_the_work(rich_film: Path, transcoded: Transcode) -> None:
    _, result = transcoded(rich_film, damage="fail", **QUICK)
    assert (result.video_frames, result.damaged_at_s) == (100, ())


@pytest.fixture
def damaged_copy(tmp_path: Path) -> Path:
    """A film whose picture is copied, and damaged at 0.8 s."""
    whole = factory.film(tmp_path / "whole.mp4", options={"preset": "veryfast", "crf": "20", "bf": "0"})
    return factory.with_noise(whole, tmp_path / "hole.mp4", [20], factory.few_bytes_changed)


def test_damage_of_a_copied_picture_is_counted_and_its_time_told(damaged_copy: Path, transcoded: Transcode) -> None:
    _, result = transcoded(damaged_copy)
    assert [each.action for each in result.streams] == ["copy"]
    assert result.decode_errors > 0
    assert result.damaged_at_s[0] == pytest.approx(0.8, abs=0.01)
    assert "in the source" in result.warnings[0]


def test_damage_of_a_copied_picture_ends_the_work_if_it_is_to(damaged_copy: Path, transcoded: Transcode) -> None:
    with pytest.raises(SourceUnreadableError, match=r"picture is damaged at 0\.8 s") as caught:
        transcoded(damaged_copy, damage="fail")
    assert caught.value.fields["time_s"] == pytest.approx(0.8, abs=0.01)


def test_a_whole_copy_passes_where_damage_ends_the_work(rich_film: Path, transcoded: Transcode) -> None:
    _, result = transcoded(rich_film, damage="fail")
    assert {each.action for each in result.streams if each.kind in {"video", "audio"}} == {"copy", "encode"}
    assert (result.decode_errors, result.damaged_at_s) == (0, ())


def test_what_cant_be_written_is_told_without_a_path(grey_ramp: Path, planned: Plan, tmp_path: Path) -> None:
    with pytest.raises(EncodeError) as caught:
        transcode(grey_ramp, tmp_path / "missing" / "out.mp4", planned(grey_ramp, **QUICK), lambda _: None)
    assert str(tmp_path) not in caught.value.message


def test_a_full_disk_is_told_apart(grey_ramp: Path, planned: Plan) -> None:
    plan = planned(grey_ramp, "archive-hevc", preset="ultrafast")
    with pytest.raises(OutOfSpaceError):
        transcode(grey_ramp, Path("/dev/full"), plan, lambda _: None)


def test_a_missing_encoder_is_told_apart(
    grey_ramp: Path, planned: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(encoding._VIDEO_ENCODERS, "h264", "h264_of_tomorrow")
    with pytest.raises(EncoderUnavailableError):
        transcode(grey_ramp, tmp_path / "out.mp4", planned(grey_ramp, **QUICK), lambda _: None)


def test_verification_passes_what_was_written(grey_ramp: Path, transcoded: Transcode) -> None:
    target, result = transcoded(grey_ramp, **QUICK)
    assert verify_output(target, result.expected).frames == 50


def test_verification_drains_the_decoder_of_a_picture_behind_its_sound(tmp_path: Path, transcoded: Transcode) -> None:
    clip = factory.sound_first_film(tmp_path / "sound_first.mkv")
    _, result = transcoded(clip, **QUICK)
    assert [(s.kind, s.frames) for s in result.expected.streams] == [("audio", None), ("video", 30)]


def test_verification_finds_a_missing_frame(grey_ramp: Path, transcoded: Transcode) -> None:
    target, result = transcoded(grey_ramp, **QUICK)
    (stream,) = result.expected.streams
    more = result.expected.model_copy(update={"streams": (stream.model_copy(update={"frames": 51}),)})
    with pytest.raises(OutputInvalidError, match="50 frames decode"):
        verify_output(target, more)


def test_verification_finds_damage(grey_ramp: Path, transcoded: Transcode) -> None:
    target, result = transcoded(grey_ramp, **QUICK)
    data = bytearray(target.read_bytes())
    begin = data.index(b"mdat") + 1500
    data[begin : begin + 400] = bytes(400)
    target.write_bytes(data)
    with pytest.raises(OutputInvalidError):
        verify_output(target, result.expected)


def test_verification_finds_a_cut_off_file(grey_ramp: Path, transcoded: Transcode) -> None:
    target, result = transcoded(grey_ramp, **QUICK)
    target.write_bytes(target.read_bytes()[:-1000])
    with pytest.raises(OutputInvalidError):
        verify_output(target, result.expected)


def test_a_raw_stream_plays_at_its_rate(tmp_path: Path, transcoded: Transcode) -> None:
    clip = factory.grey_ramp(tmp_path / "ramp.h264", frames=30)
    assert probe(clip).duration_s == pytest.approx(1.2, abs=0.05)
    target, result = transcoded(clip)
    assert result.video_frames == 30
    assert factory.frame_times(target) == [Fraction(i, 25) for i in range(30)]


def test_pictures_of_avi_arrive_in_order(tmp_path: Path, transcoded: Transcode) -> None:
    clip = factory.grey_ramp(tmp_path / "ramp.avi", frames=30, options={"qp": "0", "bf": "0"})
    target, _ = transcoded(clip)
    assert factory.frame_times(target) == [Fraction(i, 25) for i in range(30)]
    assert factory.levels(target) == pytest.approx([factory.ramp_level(i) for i in range(30)], abs=2)
