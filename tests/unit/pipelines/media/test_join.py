"""A picture that is encoded in chunks and joined is what one pass makes of it, and what isn't whole isn't joined."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import media_factory as factory
import pytest

from pipelines.media.errors import OutputInvalidError, PieceInvalidError, SourceUnreadableError
from pipelines.media.plan import TranscodePlan
from pipelines.media.probing.probe import probe
from pipelines.media.results import ChunkResult, EncodedChunk, TranscodeResult

# Built as fixtures in conftest.py, whose classes can't be imported from here.
Pieces = Any
CutUp = Callable[..., Pieces]
Look = Callable[..., TranscodePlan]
Params = dict[str, object]

SHARED = Path(__file__).parents[5] / "shared" / "media" / "video"
LOSSLESS: Params = {"codec": "h264", "crf": 0, "preset": "ultrafast"}
REORDERED: Params = {"codec": "h264", "crf": 25, "preset": "medium"}

_X264 = {"preset": "veryfast", "crf": "20"}
_OPEN_264 = {
    "preset": "veryfast",
    "crf": "20",
    "x264-params": "open-gop=1:bframes=3:b-adapt=0:keyint=10:min-keyint=10:scenecut=0",
}
_OPEN_265 = {
    "preset": "ultrafast",
    "x265-params": "log-level=error:open-gop=1:bframes=4:b-adapt=0:keyint=10:min-keyint=10:scenecut=0",
}
_OPEN_MPEG2 = {"bf": "2", "sc_threshold": "1000000000"}
_FIELDS = {"flags": "+ildct+ilme"}
_VP9 = {"cpu-used": "8", "deadline": "realtime"}
_MPEG4 = {"sc_threshold": "1000000000"}

Make = Callable[[Path], Path]


def _film(**options: object) -> Make:
    return lambda path: factory.film(path, **options)


def _combed(**options: object) -> Make:
    return lambda path: factory.write_video(path, factory.combed_pictures(), **options)  # type: ignore[arg-type]


def _cut_out(**options: object) -> Make:
    """A film that begins at a keyframe of an open GOP: the frames shown before it lack what they refer to."""

    def make(path: Path) -> Path:
        whole = factory.film(path.with_name(f"whole-{path.stem}.mkv"), **options)
        return factory.part_from_keyframe(whole, path, 1)

    return make


def _uneven() -> list[int]:
    times = [0]
    for index in range(39):
        times.append(times[-1] + (3003, 3754, 1500, 9000, 170, 3600)[index % 6])
    return times


_NTSC: Params = {"time_base": Fraction(1001, 24000), "rate": Fraction(24000, 1001)}
_FAST: Params = {"time_base": Fraction(1, 50), "rate": Fraction(50)}

GENERATED: dict[str, Make] = {
    "uneven.mp4": _film(options=_X264, pts=_uneven(), time_base=Fraction(1, 90_000)),
    "uneven.mkv": _film(options=_X264, pts=_uneven(), time_base=Fraction(1, 90_000)),
    "open_h264.mp4": _film(options=_OPEN_264),
    "open_h264.mkv": _film(options=_OPEN_264),
    "open_h264.ts": _film(options=_OPEN_264),
    "open_hevc.mp4": _film(codec="libx265", options=_OPEN_265),
    "open_hevc.ts": _film(codec="libx265", options=_OPEN_265),
    "open_mpeg2.mkv": _film(codec="mpeg2video", options=_OPEN_MPEG2),
    "cut_out_h264.mkv": _cut_out(options=_OPEN_264),
    "cut_out_hevc.ts": _cut_out(codec="libx265", options=_OPEN_265),
    "cut_out_mpeg2.ts": _cut_out(codec="mpeg2video", options=_OPEN_MPEG2),
    "edit_list.mp4": _cut_out(options=_OPEN_264),
    "late.mp4": _film(options=_X264, pts=range(7, 47)),
    "pyramid.mov": _film(options=_X264 | {"x264-params": "bframes=6:b-pyramid=normal:b-adapt=0:keyint=15"}),
    "one_keyframe.mp4": _film(options=_X264, gop=250),
    "ntsc.mp4": _film(options=_X264, **_NTSC),
    "ntsc.mkv": _film(options=_X264, **_NTSC),
    "turned.mp4": _film(options=_X264, rotation=(90, True)),
    "fields.mkv": _combed(options=_X264 | _FIELDS | {"x264-params": "tff=1"}),
    "fields.ts": _combed(codec="mpeg2video", options=_FIELDS | _OPEN_MPEG2),
    "mpeg2.ts": _film(codec="mpeg2video", options=_OPEN_MPEG2),
    "mpeg4.avi": _film(codec="mpeg4", options=_MPEG4),
    "ffv1.avi": _film(codec="ffv1"),
    "h264.flv": _film(options=_X264),
    "msmpeg4.asf": _film(codec="msmpeg4", options=_MPEG4),
    "wmv2.wmv": _film(codec="wmv2", options=_MPEG4),
    "vp8.webm": _film(codec="libvpx", options={"cpu-used": "8", "deadline": "realtime"}),
    "vp9.webm": _film(codec="libvpx-vp9", options=_VP9),
    "vp9.ivf": _film(codec="libvpx-vp9", options=_VP9),
    "av1.mp4": _film(codec="libsvtav1", options={"preset": "12"}),
    "ffv1.mkv": _film(codec="ffv1", options={"g": "5"}),
    "mjpeg.mov": _film(codec="mjpeg", pixel_format="yuvj420p"),
    "rgb.mkv": _film(codec="libx264rgb", pixel_format="rgb24", options=_X264),
    "mpeg4.nut": _film(codec="mpeg4", options=_MPEG4),
    "mpeg4.3gp": _film(codec="mpeg4", options=_MPEG4),
    "mpeg2.mxf": _film(codec="mpeg2video", options=_MPEG4),
    "rv20.rm": _film(codec="rv20", options=_MPEG4),
    "fast.mp4": _film(options=_X264, **_FAST),
    "fast.mkv": _film(options=_X264, **_FAST),
    "sound_first.mkv": factory.sound_first_film,
    "rich.mkv": factory.rich_film,
    "mpeg2.mpg": _film(codec="mpeg2video", options=_OPEN_MPEG2),
    "mpeg2.vob": _film(codec="mpeg2video", options=_OPEN_MPEG2),
    "reordered.avi": _film(codec="mpeg4", options=_MPEG4 | {"bf": "2"}),
    "raw.h264": _film(options=_X264),
}
UNCUT = {"mpeg2.mpg", "mpeg2.vob", "reordered.avi", "raw.h264"}  # they don't tell when their frames are shown

# What is left out of each shared clip to keep the tests quick; 363 s are too long, and sound alone isn't cut.
SHORTENED: dict[str, Params] = {
    "h264_aac51_720p_bbb.mp4": {"start": 1.1, "end": 2.3, "height": 90},
    "h264_aac_768x432_30s_cars.mp4": {"start": 1.1, "end": 3.3, "height": 90},
    "h264_aac_vfr_rotated180.mp4": {"height": 180, "chunk_s": 0.7},
    "h264_ac3_pgs_subtitles.mkv": {"chunk_s": 0.02},
    "h264_first_pts_10s.mp4": {"end": 1.2},
    "h264_pcm_1080p50.mov": {"start": 0.33, "end": 0.9, "frame_rate": 30, "height": 90},
    "hevc_10bit_hlg_dolbyvision_rot90.mp4": {"chunk_s": 0.15, "height": 90},  # a tone map takes seconds to set up
    "mpeg2_mp2_1080p.ts": {"height": 90, "chunk_s": 0.7},
    "vp8_vorbis_720p_30s_bbb.webm": {"start": 1.1, "end": 3.3, "height": 90},
    "vp9_opus_no_duration.webm": {"height": 90, "chunk_s": 1},
}
HDR = "av1_10bit_hdr10_1080p60.mp4"
LEFT_OUT = {"audio_only_aac.mp4", "h264_aac_1080p_363s_lowbitrate.mp4", HDR}
CLIPS = sorted({path.name for path in SHARED.glob("*")} - LEFT_OUT)


@pytest.fixture
def clip(made: Path) -> Callable[[str], Path]:
    """A shared clip, or a generated one that is made once a session."""

    def find(name: str) -> Path:
        path = made / name
        if name in CLIPS:
            return SHARED / name
        return path if path.exists() else GENERATED[name](path)

    return find


def _assert_same_as_in_one_pass(pieces: Pieces) -> None:
    joined, result = pieces.join()
    serial, expected = pieces.serial()
    assert factory.shown_pictures(joined) == factory.shown_pictures(serial)
    assert factory.heard_sounds(joined) == factory.heard_sounds(serial)
    assert (result.video_frames, result.decode_errors) == (expected.video_frames, expected.decode_errors)
    assert result.warnings == expected.warnings


@pytest.mark.parametrize("name", sorted(set(GENERATED) - UNCUT))
def test_chunks_of_a_generated_clip_join_to_what_one_pass_makes(
    name: str, clip: Callable[[str], Path], cut_up: CutUp
) -> None:
    _assert_same_as_in_one_pass(cut_up(clip(name), **LOSSLESS))


@pytest.mark.parametrize("name", CLIPS)
def test_chunks_of_a_shared_clip_join_to_what_one_pass_makes(name: str, cut_up: CutUp) -> None:
    _assert_same_as_in_one_pass(cut_up(SHARED / name, **(LOSSLESS | SHORTENED.get(name, {}))))


@pytest.mark.skipif(not CLIPS, reason="the shared clips aren't there")
def test_chunks_keep_hdr(cut_up: CutUp) -> None:
    # Not compared by its pixels: no encoder here is lossless at 10 bits.
    part = {"start": 0.3, "end": 0.6, "chunk_s": 0.1, "height": 90}
    pieces = cut_up(SHARED / HDR, "archive-hevc", preset="ultrafast", **part)
    (joined, _), (serial, _) = pieces.join(), pieces.serial()
    video, expected = probe(joined).video, probe(serial).video
    assert factory.frame_times(joined) == factory.frame_times(serial)
    assert expected is not None
    assert video == expected.model_copy(update={"bit_rate_bps": video and video.bit_rate_bps})
    assert (expected.hdr, expected.pixel_format) == ("hdr10", "yuv420p10le")


IN_MATROSKA = ("rich.mkv", "uneven.mp4", "cut_out_hevc.ts", "late.mp4", "ntsc.mkv", "fast.mkv", "mpeg4.avi")


@pytest.mark.parametrize("name", IN_MATROSKA)
def test_chunks_join_in_matroska_to_what_one_pass_makes(name: str, clip: Callable[[str], Path], cut_up: CutUp) -> None:
    _assert_same_as_in_one_pass(cut_up(clip(name), "archive-hevc", **(LOSSLESS | {"preset": "medium"})))


VARIED: dict[str, Params] = {
    "part": {"start": 0.27, "end": 1.13},
    "end": {"start": 0.5},
    "capped": {"frame_rate": 12},
    "capped-part": {"frame_rate": "10", "start": 0.13, "end": 1.01},
    "scaled": {"height": 32},
    "cropped": {"crop": "48x32+16+8"},
    "deinterlaced": {"deinterlace": "on"},
    "deinterlaced-part": {"deinterlace": "on", "start": 0.27, "end": 1.13},
    "all": {"crop": "80x48+10+6", "deinterlace": "on", "frame_rate": 15, "height": 32, "start": 0.2, "end": 1.2},
}


@pytest.mark.parametrize("params", VARIED.values(), ids=VARIED)
@pytest.mark.parametrize("name", ["open_h264.mp4", "uneven.mkv", "ntsc.mkv", "fields.ts", "rich.mkv"])
def test_chunks_join_to_what_one_pass_makes_whatever_is_asked(
    name: str, params: Params, clip: Callable[[str], Path], cut_up: CutUp
) -> None:
    _assert_same_as_in_one_pass(cut_up(clip(name), chunk_s=0.2, **(LOSSLESS | params)))


@pytest.mark.parametrize("name", ["fast.mp4", "fast.mkv"])
def test_a_bounded_frame_rate_is_the_same_in_chunks(name: str, clip: Callable[[str], Path], cut_up: CutUp) -> None:
    _assert_same_as_in_one_pass(cut_up(clip(name), chunk_s=0.1, frame_rate=30, **LOSSLESS))


OTHER_CODECS: dict[str, Params] = {
    "webm-vp9": {"preset": "8"},
    "av1-1080p": {"preset": "12"},
    "archive-hevc": {"preset": "ultrafast"},
    "web-1080p": {"preset": "medium"},
}


@pytest.mark.parametrize("profile", OTHER_CODECS)
@pytest.mark.parametrize("name", ["rich.mkv", "uneven.mp4", "cut_out_mpeg2.ts"])
def test_times_and_sound_are_those_of_one_pass_with_every_codec(
    profile: str, name: str, clip: Callable[[str], Path], cut_up: CutUp
) -> None:
    pieces = cut_up(clip(name), profile, crf=30, **OTHER_CODECS[profile])
    (joined, _), (serial, _) = pieces.join(), pieces.serial()
    assert factory.frame_times(joined) == factory.frame_times(serial)
    assert factory.heard_sounds(joined) == factory.heard_sounds(serial)


def test_four_of_five_clips_are_cut(clip: Callable[[str], Path], looked_at: Look) -> None:
    serial = {}
    for name in [*CLIPS, *GENERATED]:
        chunk_s = SHORTENED.get(name, {}).get("chunk_s", 0.3)
        plan = looked_at(clip(name), chunk_s=chunk_s, **LOSSLESS)
        if plan.method != "chunk":
            serial[name] = plan.reason
    print(f"{len(CLIPS) + len(GENERATED) - len(serial)} are cut; these aren't: {serial}")
    assert len(serial) <= (len(CLIPS) + len(GENERATED)) / 5


# The clock of the joined file


@pytest.fixture
def reordered(clip: Callable[[str], Path], cut_up: CutUp) -> Pieces:
    """Chunks whose frames aren't decoded in the order they're shown in."""
    pieces = cut_up(clip("ntsc.mp4"), chunk_s=0.5, **REORDERED)
    assert max(chunk.result.reorder for chunk in pieces.chunks) > 0
    return pieces


def test_times_of_decoding_rise_and_come_before_showing(reordered: Pieces) -> None:
    packets = factory.picture_packets(reordered.join()[0])
    decoded = [packet.dts for packet in packets]
    assert decoded == sorted(set(decoded))
    assert all(packet.dts <= packet.pts for packet in packets)


def test_every_chunk_begins_with_a_picture_that_needs_no_other(reordered: Pieces) -> None:
    packets = factory.picture_packets(reordered.join()[0])
    place, firsts = 0, []
    for chunk in reordered.chunks:
        firsts.append(packets[place])
        place += chunk.result.frames
    shown = [Fraction(chunk.result.first_pts, 24000) for chunk in reordered.chunks]
    assert [packet.pts * packet.time_base for packet in firsts] == shown
    assert all(packet.is_keyframe and 5 in _unit_types(bytes(packet)) for packet in firsts)


def _unit_types(data: bytes) -> list[int]:
    """The kinds of H.264's units in a packet of MP4; 5 is a picture after which nothing refers to what came before."""
    kinds = []
    while data:
        length = int.from_bytes(data[:4], "big")
        kinds.append(data[4] & 31)
        data = data[4 + length :]
    return kinds


@pytest.mark.parametrize("profile", ["web-720p", "archive-hevc"])
@pytest.mark.parametrize("name", ["ntsc.mp4", "late.mp4", "rich.mkv", "open_h264.ts"])
def test_the_header_tells_what_it_tells_of_one_pass(
    name: str, profile: str, clip: Callable[[str], Path], cut_up: CutUp
) -> None:
    pieces = cut_up(clip(name), profile, **REORDERED)
    (joined, _), (serial, _) = pieces.join(), pieces.serial()
    assert _head(joined) == _head(serial)


def _head(path: Path) -> list[object]:
    with av.open(str(path)) as container:
        streams = [
            (s.type, s.start_time, s.duration, s.average_rate if s.type == "video" else None, s.disposition, s.metadata)
            for s in container.streams
        ]
        return [container.start_time, container.duration, streams, container.chapters(), container.metadata]


def test_sound_that_is_cut_ends_where_it_is_cut(clip: Callable[[str], Path], cut_up: CutUp) -> None:
    pieces = cut_up(clip("rich.mkv"), "archive-hevc", audio_codec="aac", start=0.4, end=1.31, **REORDERED)
    (joined, _), (serial, _) = pieces.join(), pieces.serial()
    assert _head(joined) == _head(serial)


def test_what_isnt_picture_comes_along(clip: Callable[[str], Path], cut_up: CutUp) -> None:
    pieces = cut_up(clip("rich.mkv"), "archive-hevc", **REORDERED)
    (joined, _), (serial, _) = pieces.join(), pieces.serial()
    assert _packets_beside(joined) == _packets_beside(serial)
    assert [(s.kind, s.codec) for s in probe(joined).streams] == [(s.kind, s.codec) for s in probe(serial).streams]


def _packets_beside(path: Path) -> list[tuple[int, int | None, int | None, bytes]]:
    with av.open(str(path)) as container:
        streams = [s for s in container.streams if s.type != "video"]
        packets = [(p.stream_index, p.pts, p.duration, bytes(p)) for p in container.demux(streams) if p.size]
    return sorted(packets, key=lambda packet: packet[:2])


def test_copied_sound_lies_beside_its_picture_whatever_the_source_s_clock(tmp_path: Path, cut_up: CutUp) -> None:
    frames, hour_s = 1500, 3600  # longer than what a muxer holds back to put packets in order
    times = [hour_s * 25 + number for number in range(frames)]
    film = factory.write_video(tmp_path / "film.mkv", factory.whole_pictures(frames), times, options=_X264)
    sound = factory.write_sound(tmp_path / "sound.mkv", [(hour_s, factory.clicks(60, (1, 59)))], codec="aac")
    pieces = cut_up(factory.with_sound(film, sound, tmp_path / "late.mkv"), chunk_s=15, **LOSSLESS)
    assert [stream.action for stream in pieces.plan.kept] == ["encode", "copy"]
    joined, _ = pieces.join()
    with av.open(str(joined)) as container:
        packets = [
            (p.pos, p.stream.type, p.pts * p.time_base) for p in container.demux() if p.size and p.pts is not None
        ]
    for kind in ("video", "audio"):  # of what lies in the file's first half, nothing is shown in the film's last third
        of_kind = sorted(packet for packet in packets if packet[1] == kind)
        early = [time for pos, _, time in of_kind if pos < joined.stat().st_size / 2]
        assert early
        assert max(early) < 40


@pytest.mark.parametrize("profile", ["web-720p", "archive-hevc"])  # MP4, Matroska
def test_a_track_without_anything_in_the_part_is_told(tmp_path: Path, cut_up: CutUp, profile: str) -> None:
    film = factory.film(tmp_path / "film.mkv", options=_X264)
    comment = factory.write_sound(tmp_path / "comment.mkv", [(1.2, factory.clicks(0.4, (0.2,)))])
    sound = factory.write_sound(tmp_path / "sound.mkv", [(0, factory.clicks(1.6, (0.5,)))])
    both = factory.with_sound(factory.with_sound(film, comment, tmp_path / "one.mkv"), sound, tmp_path / "both.mkv")
    pieces = cut_up(both, profile, end=0.8, audio_codec="aac", **LOSSLESS)
    for path, result in (pieces.join(), pieces.serial()):
        assert [warning for warning in result.warnings if "nothing in this part" in warning]
        with av.open(str(path)) as made:
            heard = {
                packet.stream.index for packet in made.demux(audio=tuple(range(len(made.streams.audio)))) if packet.size
            }
        assert len(heard) == 1
        assert result.video_frames == 20


@pytest.mark.parametrize("gap", [90_000, 400_000])
def test_frames_that_stand_still_may_be_reordered_in_mp4(tmp_path: Path, cut_up: CutUp, gap: int) -> None:
    steps = [3000, gap, 2000, 2 * gap, 9000]
    times = [sum(steps[i % 5] for i in range(frame)) for frame in range(38)]
    slides = factory.film(tmp_path / "slides.mkv", frames=38, pts=times, time_base=Fraction(1, 90_000), options=_X264)
    pieces = cut_up(slides, chunk_s=5, **REORDERED)
    (joined, _), (serial, _) = pieces.join(), pieces.serial()
    assert factory.frame_times(joined) == factory.frame_times(serial) == factory.frame_times(slides)


# What is copied beside the picture


def test_bitmap_subtitles_end_where_the_part_ends(tmp_path: Path, cut_up: CutUp) -> None:
    film = factory.film(tmp_path / "film.mkv", frames=100, options=_X264)
    lines = [(begin_ms, 700, b"\x00\x04\x00\x04") for begin_ms in (0, 800, 1600, 2400, 3200)]
    source = factory.with_subtitles(film, tmp_path / "subtitled.mkv", "dvdsub", lines)
    pieces = cut_up(source, "archive-hevc", start=0.3, end=2, **LOSSLESS)
    assert [stream.action for stream in pieces.plan.kept] == ["encode", "copy"]
    for path, _ in (pieces.join(), pieces.serial()):
        with av.open(str(path)) as container:
            shown = [(p.pts, p.duration) for p in container.demux(subtitles=0) if p.size]
        assert shown == [(0, 400), (500, 700), (1300, 400)]


def test_subtitles_that_are_lost_are_told(tmp_path: Path, cut_up: CutUp) -> None:
    film = factory.film(tmp_path / "film.mkv", options=_X264)
    texts = [(200, 400, b"Bonjour"), (800, 0, b"Endless"), (1200, 300, b"Au revoir")]
    source = factory.with_subtitles(film, tmp_path / "subtitled.mkv", "subrip", texts)
    pieces = cut_up(source, **LOSSLESS)
    (_, result), (_, serial) = pieces.join(), pieces.serial()
    lost = ("Subtitle stream 1 loses 1 line: the source doesn't tell how long to show them.",)
    assert result.warnings == serial.warnings == lost


def test_subtitles_that_dont_decode_are_told(tmp_path: Path, cut_up: CutUp) -> None:
    film = factory.film(tmp_path / "film.mp4", options=_X264)
    texts = [(200, 400, b"\x00\x07Bonjour"), (800, 300, b"\x00")]
    source = factory.with_subtitles(film, tmp_path / "subtitled.mp4", "mov_text", texts)
    pieces = cut_up(source, "archive-hevc", **LOSSLESS)
    (_, result), (_, serial) = pieces.join(), pieces.serial()
    assert result.decode_errors == serial.decode_errors > 0
    assert result.warnings == serial.warnings


@pytest.mark.parametrize("method", ["join", "serial"])
def test_a_mean_bit_rate_above_its_bound_is_told(method: str, tmp_path: Path, cut_up: CutUp) -> None:
    film = factory.film(tmp_path / "film.mkv", options=_X264)
    pieces = cut_up(film, codec="h264", crf=0.1, preset="ultrafast", max_bitrate="20k")
    _, result = getattr(pieces, method)()
    assert "on average, above the bound of 20: " in result.warnings[0]


@pytest.fixture
def torn_sound(tmp_path: Path) -> Path:
    """A film whose copied sound lacks headers near 2 s: MP4's muxer can't make sense of what is between."""
    film = factory.film(tmp_path / "film.mkv", frames=100, options=_X264)
    sound = factory.write_sound(tmp_path / "sound.mkv", [(0, factory.clicks(4, (1, 3)))], codec="aac")
    return factory.without_adts_headers(factory.with_sound(film, sound, tmp_path / "film.ts"), range(93, 97))


def test_packets_of_copied_sound_that_cant_be_written_are_left_out(torn_sound: Path, cut_up: CutUp) -> None:
    pieces = cut_up(torn_sound, **LOSSLESS)
    assert [stream.action for stream in pieces.plan.kept] == ["encode", "copy"]
    for path, result in (pieces.join(), pieces.serial()):
        assert factory.click_times(path)[0] == pytest.approx(1, abs=0.03)
        assert result.expected.streams[1].end_s == pytest.approx(4, abs=0.05)
        assert result.decode_errors > 0
        assert result.damaged_at_s[0] == pytest.approx(2, abs=0.1)
        assert "left out" in result.warnings[0]


def test_copied_sound_that_cant_be_written_ends_the_work_if_damage_is_to(torn_sound: Path, cut_up: CutUp) -> None:
    pieces = cut_up(torn_sound, damage="fail", **LOSSLESS)
    for make in (pieces.join, pieces.serial):
        with pytest.raises(SourceUnreadableError, match=r"sound is damaged at (1\.9|2\.0)"):
            make()


def test_damage_of_copied_sound_ends_the_work_if_it_is_to(tmp_path: Path, cut_up: CutUp) -> None:
    film = factory.film(tmp_path / "film.mkv", options=_X264)
    whole = factory.write_sound(tmp_path / "whole.mkv", [(0, factory.clicks(1.6, (1,)))], codec="aac")
    hole = factory.with_noise(whole, tmp_path / "hole.mkv", [47])
    pieces = cut_up(factory.with_sound(film, hole, tmp_path / "both.mkv"), damage="fail", **LOSSLESS)
    assert [stream.action for stream in pieces.plan.kept] == ["encode", "copy"]
    with pytest.raises(SourceUnreadableError, match=r"sound is damaged at (0\.9|1\.0)"):
        pieces.join()


def test_damage_of_copied_sound_is_told_however_the_film_is_made(tmp_path: Path, cut_up: CutUp) -> None:
    film = factory.film(tmp_path / "film.mkv", options=_X264)
    whole = factory.write_sound(tmp_path / "whole.mkv", [(0, factory.clicks(1.6, (1,)))], codec="aac")
    hole = factory.with_noise(whole, tmp_path / "hole.mkv", [47])
    pieces = cut_up(factory.with_sound(film, hole, tmp_path / "both.mkv"), **LOSSLESS)
    assert [stream.action for stream in pieces.plan.kept] == ["encode", "copy"]
    for _, result in (pieces.join(), pieces.serial()):
        assert any("The copied audio has 1 error, as in the source" in each for each in result.warnings)
        assert result.decode_errors == 1
        assert result.damaged_at_s[0] == pytest.approx(1, abs=0.1)


def test_copied_sound_survives_a_stream_that_turns_up_on_the_way(tmp_path: Path, cut_up: CutUp) -> None:
    film = factory.film(tmp_path / "film.mkv", frames=100, options=_X264)
    sound = factory.write_sound(tmp_path / "sound.mkv", [(0, factory.clicks(4, (1, 2)))], codec="aac")
    source = factory.with_sound(film, sound, tmp_path / "film.flv")
    source.write_bytes(source.read_bytes() + factory.unlisted_packet(4000))
    pieces = cut_up(source, **LOSSLESS)
    assert [stream.action for stream in pieces.plan.kept] == ["encode", "copy"]
    joined, _ = pieces.join()
    assert factory.click_times(joined) == pytest.approx([1, 2], abs=0.03)


# What isn't whole


@pytest.fixture
def pieces(clip: Callable[[str], Path], cut_up: CutUp) -> Pieces:
    return cut_up(clip("open_h264.mp4"), **LOSSLESS)


def _with(chunk: EncodedChunk, path: Path | None = None, **changes: object) -> EncodedChunk:
    result: ChunkResult = chunk.result.model_copy(update=changes)
    return EncodedChunk(path=path or chunk.path, result=result)


@pytest.mark.parametrize("missing", [0, 2, -1], ids=["first", "middle", "last"])
def test_a_missing_chunk_is_noticed(pieces: Pieces, missing: int) -> None:
    chunks = list(pieces.chunks)
    del chunks[missing]
    with pytest.raises(OutputInvalidError, match="chunks came of"):
        pieces.join(chunks)


def test_a_chunk_that_comes_twice_is_noticed(pieces: Pieces) -> None:
    with pytest.raises(OutputInvalidError, match="chunks came of"):
        pieces.join([*pieces.chunks, pieces.chunks[1]])


def test_the_order_in_which_chunks_are_given_doesnt_matter(pieces: Pieces) -> None:
    _, result = pieces.join(pieces.chunks[::-1])
    assert result.video_frames == 40


def test_swapped_chunks_are_noticed(pieces: Pieces) -> None:
    first, second, third, *rest = pieces.chunks
    swapped = [first, _with(third, number=1), _with(second, number=2), *rest]
    with pytest.raises(OutputInvalidError, match="don't follow each other"):
        pieces.join(swapped)


def test_swapped_files_are_noticed(pieces: Pieces) -> None:
    first, second, third, *rest = pieces.chunks
    with pytest.raises(OutputInvalidError, match="has changed"):
        pieces.join([first, _with(second, third.path), _with(third, second.path), *rest])


def test_a_chunk_with_other_settings_is_noticed(pieces: Pieces, clip: Callable[[str], Path], cut_up: CutUp) -> None:
    mine = pieces.chunks
    other = cut_up(clip("open_h264.mp4"), **(LOSSLESS | {"preset": "medium"})).chunks
    with pytest.raises(OutputInvalidError, match="different decoders"):
        pieces.join([mine[0], other[1], *mine[2:]])


def test_chunks_of_another_encoder_are_noticed(pieces: Pieces, clip: Callable[[str], Path], cut_up: CutUp) -> None:
    other = cut_up(clip("open_h264.mp4"), **(LOSSLESS | {"preset": "medium"})).chunks
    with pytest.raises(OutputInvalidError, match="another build"):
        pieces.join(other)


def test_a_frame_that_the_decoder_lost_is_noticed(pieces: Pieces) -> None:
    first, second, *rest = pieces.chunks
    fewer = _with(second, source_frames=second.result.source_frames - 1)
    with pytest.raises(OutputInvalidError, match="Chunk 1 has"):
        pieces.join([first, fewer, *rest])


def test_frames_that_damage_took_are_told(pieces: Pieces) -> None:
    first, second, *rest = pieces.chunks
    fewer = _with(second, source_frames=second.result.source_frames - 3, decode_errors=1)
    _, result = pieces.join([first, fewer, *rest])
    assert result.missing_frames == 3
    assert "Damage took 3 frames of the picture." in result.warnings


def test_a_frame_that_damage_made_up_is_noticed(pieces: Pieces) -> None:
    first, second, *rest = pieces.chunks
    more = _with(second, source_frames=second.result.source_frames + 1, decode_errors=1)
    with pytest.raises(OutputInvalidError, match="Chunk 1 has"):
        pieces.join([first, more, *rest])


@pytest.mark.parametrize("place", [0, 3])
def test_a_packet_that_a_chunk_lost_is_noticed(pieces: Pieces, tmp_path: Path, place: int) -> None:
    first, second, *rest = pieces.chunks
    file = factory.without_packet(second.path, tmp_path / "fewer.nut", place)
    with pytest.raises(OutputInvalidError, match="has changed"):
        pieces.join([first, _with(second, file), *rest])


@pytest.mark.parametrize("left", [0, 40, 0.5, 0.95], ids=str)
def test_a_chunk_that_was_cut_off_is_noticed(pieces: Pieces, tmp_path: Path, left: float) -> None:
    first, second, *rest = pieces.chunks
    data = second.path.read_bytes()
    (tmp_path / "short.nut").write_bytes(data[: int(left if left >= 1 else left * len(data))])
    with pytest.raises(OutputInvalidError, match="has changed"):
        pieces.join([first, _with(second, tmp_path / "short.nut"), *rest])


def test_a_chunk_whose_data_changed_is_noticed(pieces: Pieces, tmp_path: Path) -> None:
    first, second, *rest = pieces.chunks
    data = bytearray(second.path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "changed.nut").write_bytes(data)
    with pytest.raises(OutputInvalidError, match="has changed"):
        pieces.join([first, _with(second, tmp_path / "changed.nut"), *rest])


def test_a_chunk_whose_file_is_gone_is_noticed(pieces: Pieces) -> None:
    pieces.chunks[1].path.unlink()
    with pytest.raises(PieceInvalidError, match="is gone"):
        pieces.join()


def test_all_pieces_that_are_to_be_made_again_are_named(pieces: Pieces) -> None:
    gone, unreadable, changed = (chunk.path for chunk in pieces.chunks[:3])
    gone.unlink()
    unreadable.unlink()
    unreadable.mkdir()
    changed.write_bytes(b"")
    with pytest.raises(PieceInvalidError) as caught:
        pieces.join()
    assert caught.value.fields["pieces"] == [str(gone), str(unreadable), str(changed)]


def test_a_sound_track_that_was_cut_off_is_noticed(clip: Callable[[str], Path], cut_up: CutUp) -> None:
    pieces = cut_up(clip("rich.mkv"), **LOSSLESS)
    path = pieces.sounds[1].path
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(OutputInvalidError, match="has changed"):
        pieces.join()


def test_a_picture_that_is_refreshed_bit_by_bit_isnt_joined(tmp_path: Path, cut_up: CutUp) -> None:
    # Its keyframes only begin a refresh: a decoder that starts there gives no picture until it's complete.
    options = _X264 | {"x264-params": "intra-refresh=1:keyint=20:bframes=0"}
    pieces = cut_up(factory.film(tmp_path / "refresh.mp4", frames=100, options=options), **LOSSLESS)
    with pytest.raises(OutputInvalidError, match=r"don't follow each other|not one of its frames decodes"):
        pieces.join()


def test_the_result_tells_how_it_was_made(pieces: Pieces) -> None:
    result: TranscodeResult = pieces.join()[1]
    assert (result.method, result.chunks) == ("chunk", len(pieces.chunks))
    assert result.seams is not None
    assert (len(result.seams.frames), result.seams.worst_step_db) == (len(pieces.chunks) - 1, 0)
    assert [decision.action for decision in result.streams] == [each.action for each in pieces.plan.streams]
    assert all(decision.reason for decision in result.streams)
    assert len(result.unit_s) == len(pieces.chunks) + len(pieces.sounds)
