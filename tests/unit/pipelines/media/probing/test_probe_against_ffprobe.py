"""The probe against FFmpeg's own: every field that ffprobe tells of a file, or a reason why it differs.

ffprobe is Debian's, with the libraries of FFmpeg 5.1; the probe has those of FFmpeg 8.1.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from unit.pipelines.media.ffmpeg_clips import RECIPES, make

from pipelines.media.errors import SourceError
from pipelines.media.info import AnyStream, AudioInfo, MediaInfo, SubtitleInfo, VideoInfo
from pipelines.media.probing.probe import probe

FFPROBE = shutil.which("ffprobe")
SHARED = Path(__file__).parents[6] / "shared" / "media"
SHARED_FILES = sorted(path for folder in ("video", "audio", "bad/video") for path in (SHARED / folder).glob("*"))
NEITHER = {"malformed_free_box.mp4", "zero_bytes.webm"}  # neither of the two reads them

pytestmark = pytest.mark.skipif(
    FFPROBE is None or shutil.which("ffmpeg") is None,
    reason="THERE ARE NO ffprobe AND ffmpeg: THE PROBE ISN'T COMPARED WITH THEM",
)

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Told:
    """A field as both tell it. ``stream`` is ours, where it's a field of a stream."""

    field: str
    theirs: object
    ours: object
    info: MediaInfo
    stream: AnyStream | None = None


@dataclass(frozen=True)
class Allowed:
    """A difference that is as it should be."""

    field: str
    reason: str
    when: Callable[[Told], bool] = lambda _: True


def _we_tell_more(told: Told) -> bool:
    return told.theirs is None and told.ours is not None


def _is_default(value: object) -> Callable[[Told], bool]:
    """They don't know it, and we have what holds where nothing is known."""
    return lambda told: told.theirs is None and told.ours == value


def _of(*names: str) -> Callable[[Told], bool]:
    """The stream has one of these codecs, or the file is in one of these containers."""
    return lambda told: bool({told.info.container, told.stream.codec if told.stream else None} & set(names))


def _no_decoder(told: Told) -> bool:
    return told.ours is None and told.stream is not None and told.stream.kind in {"data", "attachment"}


def _only_vendor(told: Told) -> bool:
    assert isinstance(told.theirs, dict)
    return {name: text for name, text in told.theirs.items() if name != "vendor_id"} == told.ours


def _as_long_as_its_tracks(told: Told) -> bool:
    heard_or_seen = ("video", "audio")
    timed = [s for s in told.info.streams if s.kind in heard_or_seen or getattr(s, "undecodable", "") in heard_or_seen]
    ends = [(s.start_s or 0) + (s.duration_s or 0) for s in timed]
    return told.info.container == MP4 and told.info.duration_s == pytest.approx(max(ends) - told.info.start_s, abs=1e-3)


def _as_its_duration_says(told: Told) -> bool:
    bit_rate = told.info.size_bytes * 8 / (told.info.duration_s or 1)
    return told.info.container == MP4 and told.ours == pytest.approx(bit_rate, abs=1)


def _measured(told: Told) -> bool:
    """Our header tells no duration either: it's that of the packets."""
    return told.theirs is None and told.info.container in {"matroska,webm", "h264", "apng"}


def _mirrored(told: Told) -> bool:
    return isinstance(told.stream, VideoInfo) and told.stream.mirrored


def _in_whole_macroblocks(told: Told) -> bool:
    assert isinstance(told.theirs, int)
    return _of("h264")(told) and told.ours == (told.theirs + 15) // 16 * 16


MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
NEWER = "libav changed it between 5.1 and 8.1 (ffmpeg 9.0.2 says what we do)"

ALLOWED = (
    Allowed("refs", "libav's default, 1, of a decoder that has seen no picture; ours is from H.264's own header"),
    Allowed("profile", "a profile's number without a name, which PyAV doesn't give", _of("vp8")),
    Allowed("coded_width", "its decoder doesn't know it yet; ours is from H.264's own header", _in_whole_macroblocks),
    Allowed("coded_height", "its decoder doesn't know it yet; ours is from H.264's own header", _in_whole_macroblocks),
    Allowed("sample_aspect_ratio", "where nothing is said, pixels are square", _is_default(Fraction(1))),
    Allowed("display_aspect_ratio", "worked out with square pixels where nothing is said", _we_tell_more),
    Allowed("bits_per_raw_sample", "where the codec doesn't say it, it's the pixel's or sample's bits", _we_tell_more),
    Allowed("nal_length_size", "ffprobe tells it of H.264 alone", _of("hevc")),
    Allowed("max_bit_rate", "taken from the rate control that side data tells", _we_tell_more),
    Allowed("bit_rate", "PyAV gives none of streams without a decoder", _no_decoder),
    Allowed("extradata_size", "PyAV gives none of streams without a decoder", _no_decoder),
    Allowed("rotation", "ffprobe's angle is before the mirror, ours after it; the matrix is the same", _mirrored),
    Allowed("tags", NEWER + ": an empty vendor_id is left out", _only_vendor),
    Allowed("color_space", NEWER + ": PNG says that it's RGB", _of("png", "apng")),
    Allowed("format duration", NEWER + ": that of MP4's tracks, not of the movie", _as_long_as_its_tracks),
    Allowed("format duration", "the header tells none; ours is that of the packets", _measured),
    Allowed("format bit_rate", "it follows from the duration", _as_its_duration_says),
    Allowed("format bit_rate", "it follows from the duration", _measured),
)

# Differences of the libraries in single files, by file and field: ffmpeg 9.0.2 says what we do.
OF_FILES = {
    "h264_fragmented.mp4": {"bit_rate", "duration_ts", "duration"},  # 5.1: -1, as if it were unsigned
    "h264_444_chapters.mkv": {"start_pts", "start_time", "format start_time"},  # 5.1: a codec's delay lies before 0
    "opus.mka": {"start_pts", "start_time", "format start_time"},
    "film.dv": {"time_base", "duration_ts", "avg_frame_rate", "bit_rate"},
    "film.mpg": {"field_order", "r_frame_rate", "duration", "duration_ts", "side_data_list"},
    "annexb.h264": {"r_frame_rate"},  # 8.1 counts fields
    "gain.mp3": {"duration", "duration_ts", "format duration", "format bit_rate"},  # 5.1 counts what is cut away
}

# What isn't compared, and why.
LEFT_OUT = {
    "index": "both are in the order of it",
    "r_frame_rate": "0/0 but in pictures",
    "avg_frame_rate": "0/0 but in pictures",
    "is_avc": "of H.264 alone",
    "filename": "a file has no name here, but a descriptor",
    "probe_score": "libav tells it in a debug message alone, while it opens the file",
    "program_num": "libav's dump leaves it out, and PyAV knows no programmes",
    "pmt_pid": "libav's dump leaves it out, and PyAV knows no programmes",
    "pcr_pid": "libav's dump leaves it out, and PyAV knows no programmes",
    "nb_streams": "of a programme: compared by its streams",
    "quarter_sample": "an option of MPEG-4's decoder, which PyAV doesn't show",
    "divx_packed": "an option of MPEG-4's decoder, which PyAV doesn't show",
    "dmix_mode": "an option of AC-3's decoder: -1 until it has decoded",
    "ltrt_cmixlev": "an option of AC-3's decoder: -1 until it has decoded",
    "ltrt_surmixlev": "an option of AC-3's decoder: -1 until it has decoded",
    "loro_cmixlev": "an option of AC-3's decoder: -1 until it has decoded",
    "loro_surmixlev": "an option of AC-3's decoder: -1 until it has decoded",
}


@cache
def _ffprobe(path: Path) -> Json:
    wanted = ("-show_format", "-show_streams", "-show_chapters", "-show_programs")
    command = [str(FFPROBE), "-v", "quiet", *wanted, "-of", "json", f"file:{path}"]
    told: Json = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
    return told


def _rate(text: str) -> Fraction | None:
    numerator, denominator = map(int, text.split("/"))
    return Fraction(numerator, denominator) if numerator and denominator else None


def _ratio(text: str | None) -> Fraction | None:
    return None if text is None else Fraction(*map(int, text.split(":")))


def _seconds(value: float | str | None) -> float | None:
    return None if value is None else float(value)


def _whole(value: str | int | None) -> int | None:
    return None if value is None else int(value)


def _known(value: str | int | None) -> int | None:
    """A number for which ffprobe has 0 or a negative one where it doesn't know it."""
    number = _whole(value)
    return number if number is not None and number > 0 else None


def _text(value: str | None) -> str | None:
    return None if value in {None, "unknown", "none"} else value


def _of_stream(theirs: Json, ours: AnyStream) -> Iterator[tuple[str, object, object]]:
    """Each field that ffprobe tells of a stream, as both have it."""
    kinds = {"data": "data", "attachment": "attachment"}
    yield "codec_type", theirs.get("codec_type"), getattr(ours, "undecodable", None) or kinds.get(ours.kind, ours.kind)
    yield "codec_name", _text(theirs.get("codec_name")), ours.codec
    yield "codec_long_name", _text(theirs.get("codec_long_name")), ours.codec_long_name
    number = int(theirs["codec_tag"], 16)
    yield "codec_tag", number or None, ours.codec_tag_number
    yield "codec_tag_string", theirs["codec_tag_string"] if number else None, ours.codec_tag
    yield "profile", _text(theirs.get("profile")), getattr(ours, "profile", None)
    yield "id", _known(int(theirs.get("id", "0"), 16)), ours.id or None
    yield "time_base", _rate(theirs["time_base"]), Fraction(ours.time_base or 0)
    yield "start_pts", theirs.get("start_pts"), ours.start_pts
    yield "start_time", _seconds(theirs.get("start_time")), _seconds(ours.start_s)
    yield "duration_ts", theirs.get("duration_ts"), ours.duration_pts
    yield "duration", _seconds(theirs.get("duration")), _seconds(ours.duration_s)
    yield "bit_rate", _whole(theirs.get("bit_rate")), ours.bit_rate_bps
    yield "max_bit_rate", _whole(theirs.get("max_bit_rate")), ours.max_bit_rate_bps
    yield "nb_frames", _whole(theirs.get("nb_frames")), ours.frames
    yield "extradata_size", theirs.get("extradata_size"), ours.extradata_bytes
    for name, is_set in theirs["disposition"].items():
        yield f"disposition {name}", bool(is_set), name in ours.dispositions
    yield "tags", dict(theirs.get("tags", {})), ours.tags
    kinds_held = [item["side_data_type"] for item in theirs.get("side_data_list", [])]
    yield "side_data_list", sorted(kinds_held), sorted(ours.side_data)
    if isinstance(ours, VideoInfo):
        yield from _of_picture(theirs, ours)
    elif isinstance(ours, AudioInfo):
        yield from _of_sound(theirs, ours)
    elif isinstance(ours, SubtitleInfo):
        yield "width", theirs.get("width"), ours.width
        yield "height", theirs.get("height"), ours.height


def _of_picture(theirs: Json, ours: VideoInfo) -> Iterator[tuple[str, object, object]]:
    yield "width", theirs["width"], ours.width
    yield "height", theirs["height"], ours.height
    yield "coded_width", theirs["coded_width"] or None, ours.coded_width
    yield "coded_height", theirs["coded_height"] or None, ours.coded_height
    yield "closed_captions", bool(theirs["closed_captions"]), ours.closed_captions
    yield "film_grain", bool(theirs["film_grain"]), ours.film_grain
    yield "has_b_frames", theirs["has_b_frames"], ours.reorder_frames
    yield "sample_aspect_ratio", _ratio(theirs.get("sample_aspect_ratio")), _ratio(ours.sample_aspect_ratio)
    yield "display_aspect_ratio", _ratio(theirs.get("display_aspect_ratio")), _ratio(ours.display_aspect_ratio)
    yield "pix_fmt", theirs.get("pix_fmt"), ours.pixel_format
    yield "level", _known(theirs["level"]), ours.level
    for name in ("color_range", "color_space", "color_transfer", "color_primaries", "chroma_location", "field_order"):
        yield name, _text(theirs.get(name)), getattr(ours, name)
    yield "refs", theirs["refs"], ours.reference_frames
    yield "nal_length_size", _known(theirs.get("nal_length_size")), ours.nal_length_bytes
    if ours.codec == "h264":
        yield "is_avc", theirs["is_avc"] == "true", ours.nal_length_bytes is not None
    yield "bits_per_raw_sample", _whole(theirs.get("bits_per_raw_sample")), ours.bits_per_raw_sample
    yield "r_frame_rate", _rate(theirs["r_frame_rate"]), Fraction(ours.base_frame_rate or 0)
    yield "avg_frame_rate", _rate(theirs["avg_frame_rate"]), Fraction(ours.average_frame_rate or 0) or None
    for item in theirs.get("side_data_list", []):
        yield from _of_side_data(item, ours)


def _of_side_data(theirs: Json, ours: VideoInfo) -> Iterator[tuple[str, object, object]]:
    kind = theirs["side_data_type"]
    if kind == "Display Matrix":
        rows = [[int(value) for value in row.split()[1:]] for row in theirs["displaymatrix"].split("\n") if row]
        yield "displaymatrix", tuple(value for row in rows for value in row), ours.display_matrix
        yield "rotation", -theirs["rotation"] % 360, ours.rotation_deg
    elif kind == "Mastering display metadata":
        assert ours.mastering_display is not None
        display = ours.mastering_display
        for name in ("red", "green", "blue", "white_point"):
            point = tuple(round(float(Fraction(theirs[f"{name}_{axis}"])), 4) for axis in "xy")
            yield name, point, getattr(display, name.removesuffix("_point"))
        yield "min_luminance", float(Fraction(theirs["min_luminance"])), display.min_luminance
        yield "max_luminance", float(Fraction(theirs["max_luminance"])), display.max_luminance
    elif kind == "Content light level metadata":
        assert ours.content_light is not None
        yield "max_content", theirs["max_content"], ours.content_light.max_cll
        yield "max_average", theirs["max_average"], ours.content_light.max_fall
    elif kind == "DOVI configuration record":
        assert ours.dolby_vision is not None
        told = ours.dolby_vision
        yield "dv_version", f"{theirs['dv_version_major']}.{theirs['dv_version_minor']}", told.version
        yield "dv_profile", theirs["dv_profile"], told.profile
        yield "dv_level", theirs["dv_level"], told.level
        yield "dv_bl_signal_compatibility_id", theirs["dv_bl_signal_compatibility_id"], told.compatibility_id
        for part in ("rpu", "el", "bl"):
            yield f"{part}_present_flag", bool(theirs[f"{part}_present_flag"]), getattr(told, part)
    elif kind == "CPB properties":
        assert ours.rate_control is not None
        control = ours.rate_control
        yield "max_bitrate", theirs["max_bitrate"] or None, control.max_bit_rate_bps
        yield "min_bitrate", theirs["min_bitrate"] or None, control.min_bit_rate_bps
        yield "avg_bitrate", theirs["avg_bitrate"] or None, control.average_bit_rate_bps
        yield "buffer_size", theirs["buffer_size"] or None, control.buffer_bits
    elif kind == "Stereo 3D":
        assert ours.stereo_3d is not None
        yield "type", theirs["type"], ours.stereo_3d.layout
        yield "inverted", bool(theirs["inverted"]), ours.stereo_3d.inverted
    else:
        yield f"side data {kind}", kind, None


def _of_sound(theirs: Json, ours: AudioInfo) -> Iterator[tuple[str, object, object]]:
    yield "sample_fmt", theirs.get("sample_fmt"), ours.sample_format
    yield "sample_rate", int(theirs["sample_rate"]), ours.sample_rate_hz
    yield "channels", theirs["channels"], ours.channels
    yield "channel_layout", theirs.get("channel_layout"), ours.channel_layout
    yield "bits_per_sample", theirs["bits_per_sample"] or None, ours.bits_per_sample
    yield "bits_per_raw_sample", _whole(theirs.get("bits_per_raw_sample")), ours.bits_per_raw_sample


def _of_file(theirs: Json, ours: MediaInfo) -> Iterator[tuple[str, object, object]]:
    yield "format nb_streams", theirs["nb_streams"], len(ours.streams)
    yield "format nb_programs", theirs["nb_programs"], len(ours.programs)
    yield "format_name", theirs["format_name"], ours.container
    yield "format_long_name", theirs["format_long_name"], ours.container_name
    yield "format start_time", _seconds(theirs.get("start_time")), _seconds(ours.container_start_s)
    yield "format duration", _seconds(theirs.get("duration")), _seconds(ours.duration_s)
    yield "format size", int(theirs["size"]), ours.size_bytes
    yield "format bit_rate", _whole(theirs.get("bit_rate")), ours.bit_rate_bps
    yield "format tags", dict(theirs.get("tags", {})), ours.tags


def _told(path: Path) -> Iterator[Told]:
    theirs, ours = _ffprobe(path), probe(path)
    for field, their, our in _of_file(theirs["format"], ours):
        yield Told(field, their, our, ours)
    for their_stream, stream in zip(theirs["streams"], ours.streams, strict=True):
        for field, their, our in _of_stream(their_stream, stream):
            yield Told(field, their, our, ours, stream)
    for their_chapter, chapter in zip(theirs["chapters"], ours.chapters, strict=True):
        yield Told("chapter id", their_chapter["id"], chapter.id, ours)
        yield Told("chapter time_base", _rate(their_chapter["time_base"]), Fraction(chapter.time_base or 0), ours)
        yield Told("chapter start", their_chapter["start"], chapter.start_pts, ours)
        yield Told("chapter end", their_chapter["end"], chapter.end_pts, ours)
        yield Told("chapter tags", their_chapter.get("tags", {}), chapter.tags, ours)
    for their_program, program in zip(theirs["programs"], ours.programs, strict=True):
        yield Told("program_id", their_program["program_id"], program.id, ours)
        yield Told("program tags", their_program.get("tags", {}), program.tags, ours)
        indexes = tuple(stream["index"] for stream in their_program["streams"])
        yield Told("program streams", indexes, program.streams, ours)


def _differs(told: Told) -> bool:
    if isinstance(told.theirs, float) and isinstance(told.ours, float):
        return told.theirs != pytest.approx(told.ours, abs=1e-6)
    return told.theirs != told.ours


def _excuse(path: Path, told: Told) -> object:
    """What allows a difference: an entry of one of the tables."""
    if told.field in OF_FILES.get(path.name, ()):
        return path.name, told.field
    return next((each for each in ALLOWED if each.field == told.field and each.when(told)), None)


def _unexcused(path: Path) -> list[str]:
    return [
        f"{told.field} of {f'stream {told.stream.index}' if told.stream else 'the file'}: "
        f"ffprobe {told.theirs!r}, here {told.ours!r}"
        for told in _told(path)
        if _differs(told) and _excuse(path, told) is None
    ]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("by-ffmpeg")


@pytest.mark.parametrize("name", RECIPES)
def test_a_made_file_is_told_as_ffprobe_tells_it(made: Path, name: str) -> None:
    assert not _unexcused(make(made, name))


@pytest.mark.skipif(not SHARED_FILES, reason=f"the shared clips aren't at {SHARED}")
@pytest.mark.parametrize(
    "path", [path for path in SHARED_FILES if path.name not in NEITHER], ids=lambda path: path.name
)
def test_a_shared_file_is_told_as_ffprobe_tells_it(path: Path) -> None:
    assert not _unexcused(path)


@pytest.mark.skipif(not SHARED_FILES, reason=f"the shared clips aren't at {SHARED}")
def test_what_ffprobe_does_not_read_is_not_read() -> None:
    for name in NEITHER:
        assert not _ffprobe(SHARED / "bad" / "video" / name).get("streams")
        with pytest.raises(SourceError):
            probe(SHARED / "bad" / "video" / name)


def _all_files(made: Path) -> list[Path]:
    return [path for path in (*SHARED_FILES, *made.iterdir()) if path.name not in NEITHER]


@pytest.mark.skipif(not SHARED_FILES, reason=f"the shared clips aren't at {SHARED}")
def test_every_difference_that_is_allowed_occurs(made: Path) -> None:
    """The files that the tests above made have to be there: it's one of the last."""
    missing = [make(made, name) for name in RECIPES if not (made / name).exists()]
    used = {_excuse(path, told) for path in {*_all_files(made), *missing} for told in _told(path) if _differs(told)}
    assert [each for each in ALLOWED if each not in used] == []
    assert {(name, field) for name, fields in OF_FILES.items() for field in fields} <= used


def test_no_field_is_forgotten(made: Path) -> None:
    for name in RECIPES:
        path = made / name if (made / name).exists() else make(made, name)
        compared = {told.field.removeprefix("format ").removeprefix("chapter ") for told in _told(path)}
        theirs = _ffprobe(path)
        told = {*theirs["format"], *(field for stream in theirs["streams"] for field in stream)}
        told |= {field for program in theirs["programs"] for field in program} - {"streams"}
        assert {field for field in told if field not in compared | LEFT_OUT.keys() | {"disposition"}} == set()
