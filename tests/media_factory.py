"""Media with known content, made in a moment: every test states what it expects of them."""

import hashlib
import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.filter import Graph
from av.packet import Packet
from av.stream import Stream
from av.subtitles.subtitle import SubtitleSet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

WIDTH, HEIGHT = 96, 64
SAMPLE_RATE_HZ = 48_000
ASS_HEADER = b"[Script Info]\r\n\r\n[Events]\r\nFormat: Layer, Start, End, Style, Text\r\n"


def ramp_level(index: int) -> int:
    """The luma of frame ``index`` of a grey ramp."""
    return 20 + 4 * (index % 50)


def grey(level: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """A flat picture as planar YUV 4:2:0."""
    picture = np.full((height * 3 // 2, width), 128, np.uint8)
    picture[:height] = level
    return picture


def quadrants(width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Four levels: 40 top left, 90 top right, 140 bottom left, 190 bottom right."""
    picture = np.full((height * 3 // 2, width), 128, np.uint8)
    picture[: height // 2, : width // 2] = 40
    picture[: height // 2, width // 2 :] = 90
    picture[height // 2 : height, : width // 2] = 140
    picture[height // 2 : height, width // 2 :] = 190
    return picture


def write_video(
    path: Path,
    pictures: Sequence[NDArray[np.uint8]],
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    rotation: tuple[float, bool] | None = None,
    aspect: Fraction = Fraction(1),
    pixel_format: str = "yuv420p",
    gop: int = 10,
    rate: Fraction = Fraction(25),
) -> Path:
    """Encode planar 4:2:0 ``pictures``, losslessly unless ``options`` say otherwise.

    ``rotation``: counter-clockwise degrees and whether it's mirrored, as a display matrix.
    """
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=rate, options=options or {"qp": "0", "preset": "veryfast"})
        context = stream.codec_context
        context.height, context.width = pictures[0].shape[0] * 2 // 3, pictures[0].shape[1]
        context.pix_fmt, context.time_base, context.gop_size = pixel_format, time_base, gop
        context.sample_aspect_ratio = aspect
        if rotation is not None:
            stream.set_display_rotation(rotation[0], hflip=rotation[1])
        for index, picture in enumerate(pictures):
            frame = VideoFrame.from_ndarray(picture, format="yuv420p")
            if pixel_format.startswith("rgb"):
                frame = frame.reformat(format=pixel_format)
            frame.pts, frame.time_base = (index if pts is None else pts[index]), time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


_NOISE = np.random.default_rng(7).integers(0, 180, (HEIGHT, 400), dtype=np.uint8)
_BLOCKS = np.kron(np.random.default_rng(5).integers(40, 220, (HEIGHT // 4, 100)), np.ones((4, 4))).astype(np.uint8)


def moving_pictures(frames: int = 40) -> list[NDArray[np.uint8]]:
    """Noise that wanders a pixel a frame: no two frames are alike, and those between two can be told from them."""
    pictures = [grey(128) for _ in range(frames)]
    for index, picture in enumerate(pictures):
        picture[:HEIGHT] = _NOISE[:, index : index + WIDTH] // 2 + 60
    return pictures


def combed_pictures(frames: int = 40) -> list[NDArray[np.uint8]]:
    """Interlaced: a bright edge moves two pixels from field to field."""
    pictures = [grey(60) for _ in range(frames)]
    for index, picture in enumerate(pictures):
        edge = 4 * index % (WIDTH - 8)
        picture[:HEIGHT:2, edge : edge + 8] = 180
        picture[1:HEIGHT:2, edge + 2 : edge + 10] = 180
    return pictures


FIELDS_OPTIONS = {"qp": "0", "x264-params": "tff=1", "flags": "+ildct+ilme"}  # marked as interlaced, top field first
NTSC = Fraction(30_000, 1001)


def whole_pictures(frames: int, step: float = 6) -> list[NDArray[np.uint8]]:
    """A coarse pattern that wanders ``step`` pixels a frame."""
    pictures = [grey(128) for _ in range(frames)]
    for index, picture in enumerate(pictures):
        picture[:HEIGHT] = np.roll(_BLOCKS, int(index * step), axis=1)[:, :WIDTH]
    return pictures


def woven(fields: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Pictures of two fields each: the even lines of one, the odd lines of the next."""
    pictures = [top.copy() for top in fields[::2]]
    for picture, bottom in zip(pictures, fields[1::2], strict=True):
        picture[1:HEIGHT:2] = bottom[1:HEIGHT:2]
    return pictures


def telecined_pictures(pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Five of every four: each is shown for two fields, then three, in turn (2:3 pulldown)."""
    return woven([picture for number, picture in enumerate(pictures) for _ in range(2 + number % 2)])


def fields_film(path: Path, pictures: Sequence[NDArray[np.uint8]]) -> Path:
    """``pictures`` at 29.97 a second, losslessly, marked as interlaced."""
    return write_video(path, pictures, time_base=1 / NTSC, rate=NTSC, options=FIELDS_OPTIONS)


def film(path: Path, frames: int = 40, **options: object) -> Path:
    """``moving_pictures`` in ``path``."""
    return write_video(path, moving_pictures(frames), **options)  # type: ignore[arg-type]


def stream_of(
    film: Path,
    target: Path,
    kind: Literal["video", "audio", "subtitle"] = "video",
    options: dict[str, str] | None = None,
    tell: Callable[[OutputContainer, Stream], None] = lambda *_: None,
) -> Path:
    """A copy of the first stream of a kind in another file; ``tell`` changes what the header says."""
    with av.open(str(film)) as container, av.open(str(target), "w", options=options or {}) as output:
        source = next(stream for stream in container.streams if stream.type == kind)
        stream = output.add_stream_from_template(source, opaque=True)
        tell(output, stream)
        for packet in container.demux(source):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    return target


def part_from_keyframe(film: Path, target: Path, number: int) -> Path:
    """``film`` from its keyframe ``number`` on, as a copy in another file: what came before is missing."""
    with av.open(str(film)) as container, av.open(str(target), "w") as output:
        source = container.streams.video[0]
        stream, seen = output.add_stream_from_template(source, opaque=True), -1
        for packet in container.demux(source):
            seen += packet.is_keyframe and packet.size > 0
            if packet.size and seen >= number:
                packet.stream = stream
                output.mux(packet)
    return target


def live_film(film: Path, target: Path) -> Path:
    """A copy of ``film`` in Matroska that doesn't tell how long it lasts, as of a recorder that crashed.

    A hole makes it larger than a file whose packets are read only to learn that; it takes no room on most disks.
    """
    copied = target.with_suffix(".whole")
    with (
        av.open(str(film)) as container,
        av.open(str(copied), "w", format="matroska", options={"live": "1"}) as output,
    ):
        source = container.streams[0]
        stream = output.add_stream_from_template(source, opaque=True)
        for packet in container.demux(source):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    data = copied.read_bytes()
    begin = data.index(bytes.fromhex("1f43b675"))  # of the first cluster
    hole_bytes = 257 << 20
    with target.open("wb") as file:
        file.write(data[:begin] + b"\xec\x01" + hole_bytes.to_bytes(7, "big"))
        file.seek(hole_bytes, 1)
        file.write(data[begin:])
    return target


def without_size(film: Path, target: Path) -> Path:
    """A copy of a transport stream of H.264 in which nothing tells the size of its pictures, as if scrambled."""
    data = film.read_bytes()
    for parameters in (b"\x67", b"\x68"):
        data = data.replace(b"\0\0\1" + parameters, b"\0\0\1\x0c")
    target.write_bytes(data)
    return target


def with_sound(film: Path, sound: Path, target: Path) -> Path:
    """A copy of ``film`` beside a copy of ``sound``."""
    with av.open(str(film)) as first, av.open(str(sound)) as second, av.open(str(target), "w") as output:
        sources = (first, second)
        streams = [
            [output.add_stream_from_template(each, opaque=True) for each in source.streams] for source in sources
        ]
        for source, copies in zip(sources, streams, strict=True):
            for packet in source.demux():
                if packet.size:
                    packet.stream = copies[packet.stream_index]
                    output.mux(packet)
    return target


def with_subtitles(film: Path, target: Path, codec: str, lines: Iterable[tuple[int, int, bytes]]) -> Path:
    """A copy of ``film`` with a subtitle track of packets ``(begin_ms, duration_ms, data)``."""
    with av.open(str(film)) as container, av.open(str(target), "w") as output:
        streams = [output.add_stream_from_template(each, opaque=True) for each in container.streams]
        subtitles = output.add_stream(codec)
        subtitles.codec_context.subtitle_header = ASS_HEADER
        output.start_encoding()
        for begin_ms, duration_ms, data in lines:
            line = Packet(data)
            line.stream, line.time_base = subtitles, Fraction(1, 1000)
            line.pts = line.dts = begin_ms
            line.duration, line.is_keyframe = duration_ms, True
            output.mux(line)
        for packet in container.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                output.mux(packet)
    return target


def without_packet(film: Path, target: Path, number: int) -> Path:
    """A copy of a one-stream ``film`` without one of its packets."""
    with av.open(str(film)) as container, av.open(str(target), "w", format=container.format.name) as output:
        source = container.streams[0]
        stream = output.add_stream_from_template(source, opaque=True)
        for index, packet in enumerate(container.demux(source)):
            if packet.size and index != number:
                packet.stream = stream
                output.mux(packet)
    return target


def without_rate(film: Path, target: Path) -> Path:
    """A copy of an AVI ``film`` whose header says that there are no frames in a second."""
    data = bytearray(film.read_bytes())
    rate = data.index(b"strh") + 8 + 24
    data[rate : rate + 4] = bytes(4)
    target.write_bytes(data)
    return target


def nonsense(_: bytes) -> bytes:
    return b"\x00\x00\x00\x10" + b"\x65\xff" * 8


def few_bytes_changed(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(byte ^ 0x55 for byte in data[middle : middle + 8]) + data[middle + 8 :]


def with_noise(film: Path, target: Path, numbers: Iterable[int], spoil: Callable[[bytes], bytes] = nonsense) -> Path:
    """A copy of a one-stream ``film`` in which some packets, counted in order of decoding, are spoilt."""
    spoiled = set(numbers)
    with av.open(str(film)) as container, av.open(str(target), "w") as output:
        source = container.streams[0]
        stream = output.add_stream_from_template(source, opaque=True)
        for index, packet in enumerate(container.demux(source)):
            if not packet.size:
                continue
            copy = packet
            if index in spoiled:
                copy = Packet(spoil(bytes(packet)))
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                copy.duration, copy.is_keyframe = packet.duration, packet.is_keyframe
            copy.stream = stream
            output.mux(copy)
    return target


def without_adts_headers(film: Path, numbers: Collection[int]) -> Path:
    """Change ``film``, MPEG-TS with 48 kHz AAC: the headers that lead some frames of its sound are gone."""
    data = film.read_bytes()
    headers = [match.start() for match in re.finditer(rb"\xff\xf1\x4c", data)]
    for number in numbers:
        data = data[: headers[number]] + bytes(3) + data[headers[number] + 3 :]
    film.write_bytes(data)
    return film


def grey_ramp(path: Path, frames: int = 50, **options: object) -> Path:
    """Frame ``i`` is flat at ``ramp_level(i)``, at 25 frames per second."""
    return write_video(path, [grey(ramp_level(i)) for i in range(frames)], **options)  # type: ignore[arg-type]


def ramp_with_keyframes(path: Path) -> Path:
    """Keyframes at 0, 40 and 80 of 120 frames, reordered ones between, but in AVI, which can't tell their times."""
    options = {"qp": "0", "bf": "0" if path.suffix == ".avi" else "3", "x264-params": "scenecut=0"}
    return grey_ramp(path, frames=120, gop=40, options=options)


def with_unlisted_sound(path: Path, frames: int) -> Path:
    """A film in FLV with a packet of sound at its end; of more than 2000 frames, opening it doesn't come upon that."""
    grey_ramp(path, frames, options={"preset": "veryfast"})
    path.write_bytes(path.read_bytes() + unlisted_packet(0))
    return path


def unlisted_packet(time_ms: int) -> bytes:
    """A packet of MP3 as FLV has it."""
    return b"\x08\0\0\x02" + time_ms.to_bytes(3) + bytes(4) + b"\x2f\xff" + (13).to_bytes(4)


def clicks(duration_s: float, times_s: Iterable[float], channels: int = 2) -> NDArray[np.float32]:
    """Silence with a short loud click at each of ``times_s``, as ``(channels, samples)``."""
    sound = np.zeros((channels, round(duration_s * SAMPLE_RATE_HZ)), np.float32)
    for time_s in times_s:
        begin = round(time_s * SAMPLE_RATE_HZ)
        sound[:, begin : begin + 48] = 0.9
    return sound


def tone(duration_s: float, loudness_lufs: float, channels: int = 2) -> NDArray[np.float32]:
    """A sine of 997 Hz, as ``(channels, samples)``: in stereo, one at full scale is 0 LUFS (ITU-R BS.1770)."""
    times_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    sine = 10 ** (loudness_lufs / 20) * np.sin(2 * np.pi * 997 * times_s)
    return np.tile(sine.astype(np.float32), (channels, 1))


def loudness_lufs(path: Path, track: int = 0) -> tuple[float, float]:
    """The integrated loudness of a sound track, and its true peak in dBTP, by EBU R 128's meter."""
    told: dict[str, str] = {}
    with av.open(str(path)) as container:
        stream = container.streams.audio[track]
        graph = Graph()
        meter = graph.add("ebur128", "metadata=1:peak=true")
        graph.link_nodes(graph.add_abuffer(template=stream), meter, graph.add("abuffersink")).configure()
        for frame in container.decode(stream):
            graph.push(frame)
            while True:
                try:
                    told = graph.pull().metadata or told
                except av.error.BlockingIOError:
                    break
    return float(told["lavfi.r128.I"]), 20 * math.log10(max(1e-9, float(told["lavfi.r128.true_peak"])))


def write_sound(
    path: Path,
    parts: Sequence[tuple[float, NDArray[np.float32]]],
    codec: str = "pcm_s16le",
    layout: str = "stereo",
) -> Path:
    """Write sound in parts ``(start_s, samples)``: what lies between them is a gap in the timestamps."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=SAMPLE_RATE_HZ)
        stream.codec_context.layout = layout
        for start_s, samples in parts:
            for packet in stream.encode(sound_frame(samples, start_s, layout)):
                output.mux(packet)
        output.mux(stream.encode(None))
    return path


def sound_frame(samples: NDArray[np.float32], start_s: float, layout: str = "stereo") -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
    frame.sample_rate = SAMPLE_RATE_HZ
    frame.pts, frame.time_base = round(start_s * SAMPLE_RATE_HZ), Fraction(1, SAMPLE_RATE_HZ)
    return frame


def sound_first_film(path: Path, frames: int = 30) -> Path:
    """Matroska whose first stream is sound: a click at 0.5 s beside a grey ramp."""
    with av.open(str(path), "w") as output:
        track = output.add_stream("flac", rate=SAMPLE_RATE_HZ)
        video = output.add_stream("libx264", rate=25, options={"preset": "ultrafast", "qp": "0"})
        video.codec_context.width, video.codec_context.height = WIDTH, HEIGHT
        video.codec_context.time_base = Fraction(1, 25)
        output.mux(track.encode(sound_frame(clicks(frames / 25, (0.5,)), 0)))
        output.mux(track.encode(None))
        for index in range(frames):
            frame = VideoFrame.from_ndarray(grey(ramp_level(index)), format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def rich_film(path: Path, duration_s: float = 4, *, video_start_s: float = 0, codec: str = "libx264") -> Path:
    """Matroska with a grey ramp, English and German sound (clicks at 1 s and 2 s), subtitles, chapters and tags."""
    frames = round((duration_s - video_start_s) * 25)
    with av.open(str(path), "w") as output:
        output.metadata["title"] = "A rich film"
        video = output.add_stream(codec, rate=25, options={"preset": "ultrafast"})
        video.codec_context.width, video.codec_context.height = WIDTH, HEIGHT
        video.codec_context.time_base = Fraction(1, 25)
        tracks = [output.add_stream("flac", rate=SAMPLE_RATE_HZ) for _ in range(2)]
        for track, language in zip(tracks, ("eng", "ger"), strict=True):
            track.metadata["language"] = language
        tracks[1].metadata["title"] = "Kommentar"
        tracks[0].disposition = 1
        subtitles = output.add_stream("subrip")
        subtitles.metadata["language"] = "fre"
        subtitles.codec_context.subtitle_header = ASS_HEADER
        output.set_chapters([_chapter(1, 0, 1500, "One"), _chapter(2, 1500, round(duration_s * 1000), "Two")])
        for number, (begin_ms, text) in enumerate(((500, "Bonjour"), (2000, "Au revoir"))):
            line = SubtitleSet.create(f"{number},0,Default,,0,0,0,,{text}".encode(), 0, 1000)
            packet = subtitles.codec_context.encode_subtitle(line)
            packet.stream, packet.time_base = subtitles, Fraction(1, 1000)
            packet.pts = packet.dts = begin_ms
            packet.duration = 1000
            output.mux(packet)
        sound = sound_frame(clicks(duration_s, (1, 2)), 0)
        for track in tracks:
            output.mux(track.encode(sound))
            output.mux(track.encode(None))
        for index in range(frames):
            frame = VideoFrame.from_ndarray(grey(ramp_level(index)), format="yuv420p")
            frame.pts, frame.time_base = index + round(video_start_s * 25), Fraction(1, 25)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def _chapter(number: int, start_ms: int, end_ms: int, title: str) -> dict[str, object]:
    return {
        "id": number,
        "start": start_ms,
        "end": end_ms,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": title},
    }


def levels(path: Path) -> list[int]:
    """The rounded mean luma of each frame."""
    return [round(float(picture.mean())) for picture in lumas(path)]


def lumas(path: Path) -> list[NDArray[np.float64]]:
    """The luma plane of each frame, as it's coded."""
    with av.open(str(path)) as container:
        return [
            frame.to_ndarray(format="yuv420p")[: frame.height].astype(np.float64) for frame in container.decode(video=0)
        ]


def frame_times(path: Path) -> list[Fraction]:
    """When each frame of the first video stream starts, counted from the container's start."""
    with av.open(str(path)) as container:
        container.flags &= ~1  # AVFMT_FLAG_GENPTS: times as they are stored
        stream = next(s for s in container.streams.video if not s.disposition & 1024)
        stream.thread_type = "AUTO"
        starts = [
            s.start_time * s.time_base
            for s in container.streams
            if s.type in {"video", "audio"} and s.start_time is not None and not s.disposition & 1024
        ]
        times = []
        for packet in container.demux(stream):
            try:
                times += [
                    (frame.dts if frame.pts is None else frame.pts) * stream.time_base - min(starts)
                    for frame in packet.decode()
                ]
            except av.error.InvalidDataError:
                continue
        return times


def sound(path: Path, track: int = 0) -> tuple[float, int, NDArray[np.float32]]:
    """The start in seconds, the rate and the first channel's samples of a sound track."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[track]
        resampler = av.AudioResampler(format="fltp")
        frames = [part for frame in container.decode(stream) for part in resampler.resample(frame)]
        samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        return float(frames[0].pts * frames[0].time_base), stream.sample_rate, samples


def click_times(path: Path, track: int = 0) -> list[float]:
    """When the loud clicks of a sound track start, in seconds of the file's clock."""
    start_s, rate, samples = sound(path, track)
    loud = np.flatnonzero(np.abs(samples) > 0.35)
    firsts = [int(loud[0])] if loud.size else []
    firsts += [int(b) for a, b in pairwise(loud) if b - a > rate / 10]
    return [start_s + first / rate for first in firsts]


def shown_pictures(path: Path) -> list[tuple[Fraction, str]]:
    """When each frame of the first picture is shown, in seconds, and a hash of what is seen of it."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams.video if not s.disposition & 1024)
        return [
            (frame.pts * frame.time_base, hashlib.md5(frame.to_ndarray().tobytes()).hexdigest())
            for frame in container.decode(stream)
        ]


def heard_sounds(path: Path) -> list[tuple[Fraction, str]]:
    """When each sound track starts, in seconds, and a hash of its decoded samples."""
    found = []
    with av.open(str(path)) as container:
        count = len(container.streams.audio)
    for track in range(count):
        with av.open(str(path)) as container:
            frames = list(container.decode(audio=track))
            samples = hashlib.md5(b"".join(frame.to_ndarray().tobytes() for frame in frames)).hexdigest()
            found.append((frames[0].pts * frames[0].time_base, samples))
    return found


def picture_packets(path: Path) -> "list[Packet[VideoStream]]":
    """The packets of the first picture in order of decoding, with times as they are stored."""
    with av.open(str(path)) as container:
        container.flags &= ~1  # AVFMT_FLAG_GENPTS
        stream = next(s for s in container.streams.video if not s.disposition & 1024)
        return [packet for packet in container.demux(stream) if packet.size]
