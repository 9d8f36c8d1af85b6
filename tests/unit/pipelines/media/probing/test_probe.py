import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import media_factory as factory
import pytest
from av.container import OutputContainer
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from pipelines.media.info import MediaInfo
from pipelines.media.probing.probe import probe
from pipelines.media.side_data_info import AmbientViewing, ReplayGain, Spherical, Stereo3d


def test_probe_tells_a_video(grey_ramp: Path) -> None:
    video = probe(grey_ramp).video
    assert video is not None
    assert (video.codec, video.width, video.height, video.frame_rate) == ("h264", 96, 64, "25")
    assert (video.bit_depth, video.hdr, video.sample_aspect_ratio) == (8, "sdr", "1:1")


def test_probe_tells_tracks_chapters_and_tags(rich_film: Path) -> None:
    info = probe(rich_film)
    assert [s.kind for s in info.streams] == ["video", "audio", "audio", "subtitle"]
    assert [s.language for s in info.streams] == [None, "eng", "ger", "fre"]
    assert [(c.start_s, c.end_s, c.title) for c in info.chapters] == [(0, 1.5, "One"), (1.5, 4, "Two")]
    assert info.tags["title"] == "A rich film"
    assert info.audio[0].default
    assert info.audio[1].title == "Kommentar"


def test_probe_travels_as_json(rich_film: Path) -> None:
    info = probe(rich_film)
    assert MediaInfo.model_validate_json(info.model_dump_json()) == info


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("clockwise", [0, 90, 180, 270])
def test_probe_tells_the_orientation(tmp_path: Path, clockwise: int, mirrored: bool) -> None:
    clip = factory.write_video(tmp_path / "turned.mp4", [factory.quadrants()], rotation=(-clockwise, mirrored))
    video = probe(clip).video
    assert video is not None
    # The factory mirrors after the turn, MediaInfo before it: a mirror turns the other way round.
    assert video.mirrored == mirrored
    assert video.rotation_deg == ((-clockwise) % 360 if mirrored else clockwise)
    shown = (64, 96) if clockwise % 180 else (96, 64)
    assert (video.display_width, video.display_height) == shown


def test_display_size_has_square_pixels(tmp_path: Path) -> None:
    clip = factory.grey_ramp(tmp_path / "wide.mp4", frames=3, aspect=Fraction(4, 3))
    video = probe(clip).video
    assert video is not None
    assert (video.display_width, video.display_height, video.sample_aspect_ratio) == (128, 64, "4:3")


def test_sound_alone_has_no_video(tmp_path: Path) -> None:
    info = probe(factory.write_sound(tmp_path / "clicks.wav", [(0, factory.clicks(1, (0.5,)))]))
    assert info.video is None
    assert [(a.channels, a.sample_rate_hz) for a in info.audio] == [(2, 48000)]
    assert info.duration_s == pytest.approx(1)


def test_a_missing_duration_is_read_from_the_packets(tmp_path: Path, grey_ramp: Path) -> None:
    data = bytearray(grey_ramp.read_bytes())
    place = data.index(b"\x44\x89\x88")  # Matroska's Duration, turned into a Void element of the same length
    data[place : place + 3] = b"\xec\x40\x08"
    (tmp_path / "live.mkv").write_bytes(data)
    assert probe(tmp_path / "live.mkv").duration_s == pytest.approx(2, abs=0.05)


def test_flags_are_told_by_name(tmp_path: Path, rich_film: Path) -> None:
    def tell(_: OutputContainer, stream: Stream) -> None:
        stream.disposition = Disposition.forced | Disposition.hearing_impaired

    (track,) = probe(factory.stream_of(rich_film, tmp_path / "flags.mkv", "audio", tell=tell)).audio
    assert track.dispositions == ("forced", "hearing_impaired")
    assert track.forced
    assert not track.default


def test_h264_tells_how_it_was_coded(tmp_path: Path) -> None:
    """Macroblocks are 16 by 16: what is decoded of the last row and column is cut away."""
    options = {"preset": "veryfast", "x264-params": "ref=3:bframes=0"}
    clip = factory.write_video(tmp_path / "odd.mp4", [factory.grey(90, 98, 70)] * 5, options=options)
    video = probe(clip).video
    assert video is not None
    assert (video.width, video.height) == (98, 70)
    assert (video.coded_width, video.coded_height) == (112, 80)
    assert (video.reference_frames, video.nal_length_bytes, video.chroma_location) == (3, 4, "left")
    assert (video.codec_tag, video.codec_tag_number) == ("avc1", 0x31637661)
    assert video.display_aspect_ratio == "7:5"


@pytest.mark.parametrize(("mode", "layout"), [("left_right", "side by side"), ("bottom_top", "top and bottom")])
def test_two_views_in_a_picture_are_told(tmp_path: Path, mode: str, layout: str) -> None:
    clip = tmp_path / "views.mkv"
    with av.open(str(clip), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.codec_context.width, stream.codec_context.height = factory.WIDTH, factory.HEIGHT
        stream.codec_context.pix_fmt = "yuv420p"
        stream.metadata["stereo_mode"] = mode
        output.mux(stream.encode(VideoFrame.from_ndarray(factory.grey(90), format="yuv420p")))
        output.mux(stream.encode(None))
    video = probe(clip).video
    assert video is not None
    assert video.stereo_3d == Stereo3d(layout=layout, view="packed", inverted=mode == "bottom_top")
    assert video.side_data == ("Stereo 3D",)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _with_box(clip: Path, box: bytes) -> Path:
    """``clip``, an MP4 of H.264, with another box at the end of its sample description."""
    data = bytearray(clip.read_bytes())
    places, place = [], 0
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        place = data.index(kind, place)
        places.append(place - 4)
    (length,) = struct.unpack_from(">I", data, places[-1])
    data[places[-1] + length : places[-1] + length] = box
    for place in places:
        struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + len(box))
    clip.write_bytes(data)
    return clip


@pytest.mark.parametrize(("turned", "bounds"), [((90, -45, 0.5), (0, 0, 0, 0)), ((0, 0, 0), (1 << 30, 0, 0, 0))])
def test_a_picture_all_around_is_told(
    tmp_path: Path, turned: tuple[float, float, float], bounds: tuple[int, int, int, int]
) -> None:
    """Spherical Video V2 (https://github.com/google/spatial-media): a box in MP4's sample description."""
    pose = _box(b"prhd", struct.pack(">4i", 0, *(round(angle * 65536) for angle in turned)))
    projection = _box(b"proj", pose + _box(b"equi", struct.pack(">I4I", 0, *bounds)))
    sphere = _box(b"sv3d", _box(b"svhd", bytes(4) + b"test\0") + projection)
    video = probe(_with_box(factory.grey_ramp(tmp_path / "around.mp4", frames=3), sphere)).video
    assert video is not None
    name = "tiled equirectangular" if any(bounds) else "equirectangular"
    yaw, pitch, roll = turned
    assert video.spherical == Spherical(projection=name, yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll)


def test_the_light_around_is_told(tmp_path: Path) -> None:
    """ISO/IEC 14496-12's ``amve``: ten-thousandths of a lux, and fifty-thousandths of x and y."""
    box = _box(b"amve", struct.pack(">I2H", 3_140_000, 15_635, 16_450))
    video = probe(_with_box(factory.grey_ramp(tmp_path / "light.mp4", frames=3), box)).video
    assert video is not None
    assert video.ambient_viewing == AmbientViewing(illuminance_lux=314, white=(0.3127, 0.329))


@pytest.mark.parametrize(("suffix", "codec"), [("mp3", "libmp3lame"), ("mka", "flac"), ("flac", "flac")])
def test_replay_gain_is_told(tmp_path: Path, suffix: str, codec: str) -> None:
    clip = tmp_path / f"gain.{suffix}"
    with av.open(str(clip), "w") as output:
        output.metadata.update(REPLAYGAIN_TRACK_GAIN="-7.25 dB", REPLAYGAIN_TRACK_PEAK="0.5")
        stream = output.add_stream(codec, rate=factory.SAMPLE_RATE_HZ)
        output.mux(stream.encode(factory.sound_frame(factory.tone(0.2, -20), 0)))
        output.mux(stream.encode(None))
    (track,) = probe(clip).audio
    assert track.replay_gain == ReplayGain(track_gain_db=-7.25, track_peak=0.5)


def test_whom_a_sound_track_serves_is_told(tmp_path: Path) -> None:
    clip = factory.write_sound(tmp_path / "main.mp4", [(0, factory.tone(0.2, -20))], codec="ac3")
    (track,) = probe(clip).audio
    assert (track.service, track.bits_per_sample, track.bits_per_raw_sample) == ("main", None, None)


def test_a_turn_is_told_though_its_frames_hold_what_is_not_known(tmp_path: Path) -> None:
    """PyAV knows no EXIF, which libav hands on with the frames, and gives none of their side data then."""
    picture, exif = io.BytesIO(), Image.Exif()
    exif[0x0110] = "A camera"
    Image.new("RGB", (96, 64)).save(picture, "JPEG", exif=exif)
    clip = tmp_path / "exif.mov"
    with av.open(str(clip), "w") as output:
        stream = output.add_stream("mjpeg", rate=25)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = 96, 64, "yuvj420p"
        stream.set_display_rotation(-90)
        packet: av.Packet[VideoStream] = av.Packet(picture.getvalue())
        packet.pts, packet.dts, packet.time_base, packet.stream = 0, 0, Fraction(1, 25), stream
        packet.is_keyframe = True
        output.mux(packet)
    video = probe(clip).video
    assert video is not None
    assert (video.rotation_deg, video.display_width, video.display_height) == (90, 64, 96)


def test_a_turn_is_told_though_nothing_decodes(tmp_path: Path) -> None:
    clip = factory.write_video(tmp_path / "turned.mp4", [factory.quadrants()] * 3, rotation=(-90, False))
    spoiled = factory.with_noise(clip, tmp_path / "spoiled.mp4", range(3))
    video = probe(spoiled).video
    assert video is not None
    assert video.rotation_deg == 90


def test_chapters_have_tags_and_their_own_clock(rich_film: Path) -> None:
    first, second = probe(rich_film).chapters
    assert first.tags == {"title": "One"}
    assert first.time_base is not None
    assert second.start_pts is not None
    assert second.start_pts * Fraction(first.time_base) == Fraction(3, 2)


def test_a_language_that_looks_like_a_stream_changes_no_other(tmp_path: Path, rich_film: Path) -> None:
    """Some texts of a file stand unquoted in what libav tells of it."""
    lie = "eng)\n  Stream #0:7: Video: h264 (avc1 / 0x31637661)\n    Side data:\n      Display Matrix: rotation of 1..2"

    def tell(output: OutputContainer, stream: Stream) -> None:
        stream.metadata["language"], output.metadata["title"] = lie, lie

    info = probe(factory.stream_of(rich_film, tmp_path / "sly.mkv", "audio", tell=tell))
    assert info.tags["title"] == lie
    assert [(s.index, s.kind, s.codec_tag, s.side_data) for s in info.streams] == [(0, "audio", None, ())]
