"""All of it decoded: what is whole, what is bad input, and what is found where."""

import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import damage
import flac
import media_factory as factory
import pytest
from damage import rewritten

from pipelines.media.errors import SourceNotFoundError
from pipelines.media.parts import Part
from pipelines.media.validation.full import check_part_hashed, parts_of, plan_validation, validate_full
from pipelines.media.validation.look import look
from pipelines.media.validation.quick import validate_quick
from pipelines.media.validation.report import ValidationResult

PLAIN = {"preset": "veryfast", "x264-params": "bframes=0:keyint=10"}
GROUPS = {"preset": "veryfast", "x264-params": "open-gop=1:bframes=3:b-adapt=0:keyint=10:min-keyint=10:scenecut=0"}
HEVC_GROUPS = {
    "preset": "ultrafast",
    "x265-params": "log-level=none:pools=1:open-gop=1:bframes=3:b-adapt=0:keyint=10:min-keyint=10:scenecut=0",
}


def full(path: Path, threads: int = 1) -> ValidationResult:
    return validate_full(path, threads, lambda _: None)


def quick(path: Path) -> ValidationResult:
    return validate_quick(path, lambda _: None)


def codes(result: ValidationResult) -> set[str]:
    return {finding.code for finding in result.findings}


OPEN: dict[str, dict[str, object]] = {
    "film.mkv": {"options": GROUPS},
    "film.ts": {"options": GROUPS},
    "hevc.mkv": {"codec": "libx265", "options": HEVC_GROUPS},
    "hevc.ts": {"codec": "libx265", "options": HEVC_GROUPS},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"b": "900000", "bf": "2", "sc_threshold": "1000000000"}},
}


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("threads", [1, 4])
def test_what_was_cut_out_at_an_open_group_is_whole(tmp_path: Path, name: str, threads: int) -> None:
    film = factory.film(tmp_path / name, **OPEN[name])
    cut = factory.part_from_keyframe(film, tmp_path / f"cut.{name}", 1)
    for result in (full(cut, threads), quick(cut)):
        assert (result.verdict, [f for f in result.findings if f.severity != "info"]) == ("ok", [])
        assert "lead_in" in codes(result)


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("first", [3, 11])
def test_what_begins_between_keyframes_is_doubtful_and_no_more(
    tmp_path: Path, name: str, threads: int, first: int
) -> None:
    film = factory.film(tmp_path / name, **OPEN[name])
    cut = rewritten(film, tmp_path / f"cut.{name}", lambda number, _: number >= first)
    for result in (full(cut, threads), quick(cut)):
        assert (result.verdict, [f.code for f in result.findings if f.severity != "info"]) == (
            "suspect",
            ["no_keyframe_first"],
        )


def test_what_is_said_of_a_header_that_comes_later_is_no_damage(shared_video: Path, tmp_path: Path) -> None:
    """It may be said when packets of the sound were read that are shown behind the picture's."""
    clip = shared_video / "h264_aac51_720p_bbb.mp4"
    result = quick(rewritten(clip, tmp_path / "entered.ts", lambda number, _: number >= 20))
    assert [finding.code for finding in result.findings if finding.severity != "info"] == ["no_keyframe_first"]


def test_what_is_missing_behind_the_first_keyframe_is_damage(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.ts", options=GROUPS)
    cut = factory.part_from_keyframe(film, tmp_path / "cut.ts", 1)
    spoilt = factory.with_noise(cut, tmp_path / "spoilt.ts", [4])
    assert full(spoilt).verdict == "broken"


OUTPUTS: dict[str, dict[str, object]] = {
    "film.mp4": {"options": GROUPS},
    "film.mkv": {"options": GROUPS},
    "film.ts": {"options": GROUPS},
    "refresh.mkv": {"options": {"preset": "veryfast", "x264-params": "intra-refresh=1:keyint=10"}},
    "slices.mp4": {"options": {"preset": "veryfast", "x264-params": "slices=4:cabac=0"}},
    "film.avi": {"codec": "mpeg4", "options": {"b": "900000", "bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"b": "900000", "bf": "2"}},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"b": "900000", "bf": "2"}},
    "film.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "vp8.webm": {"codec": "libvpx", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "hevc.mp4": {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "lp=1"}},
    "mjpeg.mov": {"codec": "mjpeg", "pixel_format": "yuvj420p", "options": {"qscale": "3"}},
    "raw.h264": {"options": PLAIN},
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_encoders_make_is_whole(tmp_path: Path, name: str) -> None:
    film = factory.film(tmp_path / name, **OUTPUTS[name])
    for result in (full(film), full(film, threads=2), quick(film)):
        assert (result.verdict, [f for f in result.findings if f.severity != "info"]) == ("ok", [])
    assert full(film).frames == 40


@pytest.mark.parametrize("name", ["a.mp3", "a.flac", "a.ogg", "a.opus", "a.m4a", "a.wav", "a.ac3"])
def test_sound_alone_is_whole(tmp_path: Path, name: str) -> None:
    names = {"mp3": "libmp3lame", "ogg": "libopus", "opus": "libopus", "m4a": "aac", "wav": "pcm_s16le"}
    suffix = name.split(".")[1]
    sound = factory.write_sound(tmp_path / name, [(0.0, factory.tone(4, -20))], codec=names.get(suffix, suffix))
    for result in (full(sound), quick(sound)):
        assert (result.verdict, [f for f in result.findings if f.severity != "info"]) == ("ok", [])
    assert full(sound).samples >= 4 * 48_000


def test_the_shared_clips_are_whole(shared_video: Path) -> None:
    """But one, whose chapters were changed behind their checksum; the longest takes too long here."""
    clips = [*shared_video.iterdir(), *(shared_video.parent / "audio").iterdir()]
    results = {clip.name: full(clip) for clip in clips if "363s" not in clip.name}
    doubtful = {name: codes(result) for name, result in results.items() if result.verdict != "ok"}
    assert doubtful == {"h264_444_chapters.mkv": {"metadata_changed"}}


@pytest.mark.parametrize(
    ("name", "verdict", "code"),
    [
        ("invalid_nalu.mp4", "broken", "packet_undecodable"),
        ("invalid_vp9_bitstream.webm", "broken", "nothing_decodes"),
        ("malformed_free_box.mp4", "broken", "unreadable"),
        ("mdat_too_long.mp4", "broken", "cut_off"),
        ("missing_stsd.mp4", "suspect", "no_decoder"),
        ("truncated_after_moov.m4b", "broken", "index_beyond_end"),
        ("zero_bytes.webm", "broken", "unreadable"),
    ],
)
def test_bad_clips_have_their_finding(shared_video: Path, name: str, verdict: str, code: str) -> None:
    for level in (full, quick):
        result = level(shared_video.parent / "bad" / "video" / name)
        assert result.verdict == verdict
        assert code in codes(result) or (level is quick and code == "nothing_decodes")


def test_what_isnt_there_is_an_error(tmp_path: Path) -> None:
    for level in (full, quick):
        with pytest.raises(SourceNotFoundError):
            level(tmp_path / "none.mkv")


def test_one_frame_is_enough(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "one.mp4", frames=1)
    assert (full(film).verdict, full(film).frames, quick(film).verdict) == ("ok", 1, "ok")


def test_a_cover_is_decoded_beside_the_sound(shared_video: Path) -> None:
    result = full(shared_video.parent / "audio" / "flac_with_cover.flac")
    assert (result.verdict, result.frames) == ("ok", 1)


def test_a_cover_that_is_damaged_is_told(shared_video: Path, tmp_path: Path) -> None:
    content = (shared_video.parent / "audio" / "flac_with_cover.flac").read_bytes()
    begin = content.find(b"\x89PNG") + 3000
    spoilt = tmp_path / "spoilt.flac"
    spoilt.write_bytes(content[:begin] + bytes(4000) + content[begin + 4000 :])
    result = full(spoilt)
    assert {finding.stream for finding in result.findings if finding.code == "packet_undecodable"} == {1}
    assert result.samples == 131_568


def test_subtitles_alone_are_no_media(tmp_path: Path, rich_film: Path) -> None:
    words = factory.stream_of(rich_film, tmp_path / "words.mkv", "subtitle")
    assert "no_media" in codes(full(words))


def test_a_recording_without_a_duration_is_whole(shared_video: Path) -> None:
    assert full(shared_video / "vp9_opus_no_duration.webm").verdict == "ok"


def test_a_film_of_no_rate_is_whole(tmp_path: Path) -> None:
    times = [0, 5, 9, 700, 701, 4000]
    film = factory.write_video(
        tmp_path / "odd.mkv", factory.moving_pictures(6), pts=times, time_base=Fraction(1, 1000), options=PLAIN
    )
    assert full(film).verdict == "ok"


def test_times_that_jump_are_doubtful(tmp_path: Path) -> None:
    def change(number: int, packet: "av.Packet[av.VideoStream]") -> bool:
        if number >= 20:
            packet.pts, packet.dts = (packet.pts or 0) + 5000, (packet.dts or 0) + 5000
        return True

    film = rewritten(factory.film(tmp_path / "film.mkv", options=PLAIN), tmp_path / "jumps.mkv", change)
    for result in (full(film), quick(film)):
        assert result.verdict == "suspect"
        assert "gap" in codes(result)


@pytest.mark.parametrize("name", ["film.mkv", "film.ts", "film.avi", "film.flv"])
@pytest.mark.parametrize("share", [0.02, 0.4, 0.97])
def test_a_film_that_was_cut_off_is_broken(tmp_path: Path, name: str, share: float) -> None:
    film = factory.film(tmp_path / name, frames=60, options=PLAIN)
    content = film.read_bytes()
    film.write_bytes(content[: int(len(content) * share)])
    for result in (full(film), quick(film)):
        assert result.verdict == "broken", (name, share, codes(result))


def test_where_it_is_damaged_is_told(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", frames=60, options=PLAIN)
    result = full(factory.with_noise(film, tmp_path / "spoilt.mkv", [30, 31]))
    (finding,) = [finding for finding in result.findings if finding.code == "packet_undecodable"]
    assert (finding.time_s, finding.last_s, finding.count) == (1.2, 1.24, 2)


def test_what_is_damaged_before_a_border_is_found_by_one_part(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", options=GROUPS)
    spoilt = factory.with_noise(film, tmp_path / "spoilt.mkv", [9])
    plan = plan_validation(spoilt, 4, lambda _: None, whole_s=0.0)
    assert len(plan.parts) > 1
    found = [check_part_hashed(spoilt, part, 1, None, lambda _: None).findings for part in plan.parts]
    assert sum(bool(findings) for findings in found) == 1


@pytest.mark.parametrize("bits", [8, 12, 20])
def test_sound_of_few_bits_is_what_was_encoded(tmp_path: Path, bits: int) -> None:
    sound = flac.write(tmp_path / "tone.flac", bits)
    assert (full(sound).verdict, full(sound).samples) == ("ok", flac.SAMPLES)


def test_what_has_no_index_is_cut_into_a_part_for_each_slot(tmp_path: Path) -> None:
    """For each part, all that is before is read."""
    film = factory.film(tmp_path / "film.mkv", frames=200, options=PLAIN)
    live = rewritten(film, tmp_path / "live.mkv", lambda *_: True, options={"live": "1"})
    assert [len(parts_as_of_giants(each)) for each in (film, live)] == [12, 2]


def parts_as_of_giants(film: Path) -> Sequence[Part]:
    """As if a picture of it took 0.36 s."""
    looked = look(film, lambda _: None)
    assert looked.head is not None
    streams = tuple(replace(stream, pixels=200_000_000) for stream in looked.head.streams)
    return parts_of(film, replace(looked, head=replace(looked.head, streams=streams)), 2, 0.0)[0]


def test_a_raw_stream_is_decoded_from_its_start(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.h264", options=PLAIN)
    assert (quick(film).frames, quick(film).decoded) == (40, "edges")
    spoilt = factory.with_noise(film, tmp_path / "spoilt.h264", [5])
    assert quick(spoilt).verdict == "broken"


def test_where_nothing_is_decoded_that_is_told(tmp_path: Path, rich_film: Path) -> None:
    words = factory.stream_of(rich_film, tmp_path / "words.mkv", "subtitle")
    assert quick(words).decoded == "none"


def test_sound_that_isnt_what_was_encoded_is_told_by_its_checksum(tmp_path: Path) -> None:
    tone = factory.write_sound(tmp_path / "tone.flac", [(0.0, factory.tone(4, -20))], codec="flac")
    assert full(tone).verdict == "ok"
    content = tone.read_bytes()
    place = 8 + 18  # behind fLaC and the block's head, the checksum is the last of STREAMINFO
    tone.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    assert codes(full(tone)) == {"sound_differs"}


def test_a_stream_that_the_header_doesnt_name_is_told(tmp_path: Path) -> None:
    result = full(factory.with_unlisted_sound(tmp_path / "film.flv", frames=2600))
    assert "stream_unlisted" in codes(result)
    assert result.frames == 2600


def test_of_a_large_file_a_quick_look_reads_the_beginning_and_the_end(tmp_path: Path) -> None:
    film = factory.grey_ramp(tmp_path / "film.mkv", frames=800, options=PLAIN)
    result = validate_quick(film, lambda _: None, limit_bytes=film.stat().st_size // 8)
    assert (result.verdict, result.packets_read, result.decoded) == ("ok", "part", "edges")
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(film.read_bytes()[: film.stat().st_size * 9 // 10])
    assert validate_quick(cut, lambda _: None, limit_bytes=film.stat().st_size // 8).verdict == "broken"


LARGE: dict[str, dict[str, object]] = {
    "film.mkv": {"options": GROUPS},
    "film.mp4": {"options": GROUPS},
    "film.ts": {"options": GROUPS},
    "film.avi": {"codec": "mpeg4"},
    "film.mpg": {"codec": "mpeg2video", "options": {"b": "900000", "bf": "2"}},
    "film.flv": {"options": PLAIN},
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_file_is_whole_wherever_a_look_at_its_end_begins(tmp_path: Path, name: str) -> None:
    film = factory.film(tmp_path / name, frames=250, **LARGE[name])
    for tail_s in (1.3, 2.0, 3.1):
        result = validate_quick(film, lambda _: None, film.stat().st_size // 4, tail_s)
        assert (result.verdict, [f for f in result.findings if f.severity != "info"]) == ("ok", [])
        assert (result.packets_read, result.decoded) == ("part", "edges")


def test_what_is_found_where_no_end_can_be_sought_is_counted_once(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", frames=200, options=PLAIN)
    live = rewritten(film, tmp_path / "live.mkv", lambda number, _: number != 25, options={"live": "1"})
    result = validate_quick(live, lambda _: None, live.stat().st_size // 2)
    (gap,) = (finding for finding in result.findings if finding.code == "gap")
    assert (gap.count, result.packets_read) == (1, "part")


def test_a_picture_that_ends_too_early_is_found(shared_video: Path, tmp_path: Path) -> None:
    """One bit of HEVC is enough: its decoder says nothing, and the rest of the picture stays as it was."""
    clip = damage.Clip.of(shared_video / "hevc_10bit_hlg_dolbyvision_rot90.mp4")
    found: set[str] = set()
    for seed in range(4):
        spoilt = tmp_path / "spoilt.mp4"
        spoilt.write_bytes(damage.flip(clip, random.Random(seed)))
        result = full(spoilt)
        assert result.verdict == "broken"
        found |= codes(result)
    assert "picture_unwritten" in found


SAMPLE = [
    ("h264_aac51_720p_bbb.mp4", "hole"),
    ("h264_aac51_720p_bbb.mp4", "swapped"),
    ("h264_aac51_720p_bbb.mp4", "header"),
    ("h264_aac51_720p_bbb.mp4", "flipped"),
    ("mpeg4_mp3_960x400.avi", "dropped"),
    ("mpeg4_mp3_960x400.avi", "bytes lost"),
    ("mpeg2_mp2_1080p.ts", "mistimed"),
    ("mpeg2_mp2_1080p.ts", "swapped"),
    ("av1_640x360.mkv", "dropped"),
    ("vp9_opus_no_duration.webm", "cut off"),
    ("vp9_opus_no_duration.webm", "mistimed"),
]


@pytest.mark.parametrize(("name", "kind"), SAMPLE)
def test_damage_is_found(shared_video: Path, tmp_path: Path, name: str, kind: str) -> None:
    clip = damage.Clip.of(shared_video / name)
    spoilt = tmp_path / name
    for seed in range(3):
        spoilt.write_bytes(damage.KINDS[kind](clip, random.Random(seed)))
        assert full(spoilt).verdict != "ok"


def test_a_clean_copy_has_no_finding(shared_video: Path, tmp_path: Path) -> None:
    for name in {name for name, _ in SAMPLE}:
        copy = tmp_path / name
        copy.write_bytes(damage.remuxed(damage.Clip.of(shared_video / name)))
        assert full(copy).verdict == "ok", name
