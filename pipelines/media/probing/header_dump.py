"""What libav's own dump of a file's headers tells and PyAV doesn't: side data of streams, paddings, programmes.

The dump is made from the headers alone, in a tenth of a millisecond. Its text is libavformat's (``dump.c``) and
libavcodec's (``avcodec_string``).
"""

import re
from dataclasses import dataclass, field

from av.container import InputContainer

from pipelines.media.info import Program
from pipelines.media.libav_log import talkative

_STREAM = re.compile(r" {2}(?: {2})?Stream #0:(\d+)(.*)")
_PROGRAM = re.compile(r" {2}Program (\d+) (.*)")
_METADATA = re.compile(r" {6}(\S.*?) *: (.*)")
_SIDE_DATA = re.compile(r" {6}(\S[^:]*): (.*)")

_TAG = re.compile(r" \(((?:\[\d+\]|[\w .-]){4}) / 0x([0-9A-F]{4,8})\)")
_CHROMA_LOCATION = re.compile(r"[(,] ?(left|center|topleft|top|bottomleft|bottom)\)")
_BITS_PER_COMPONENT = re.compile(r"\((\d+) bpc\b")
_BITS_PER_SAMPLE = re.compile(r" \((\d+) bit\)")
_DELAY = re.compile(r", delay (\d+)")
_PADDING = re.compile(r", padding (\d+)")
_SUBTITLE_SIZE = re.compile(r"Subtitle: .*, (\d+)x(\d+)")


@dataclass(frozen=True)
class StreamDump:
    """What the dump tells of a stream. ``side_data``: libav's text by its name for the kind."""

    codec_tag: str | None = None
    codec_tag_number: int | None = None
    chroma_location: str | None = None
    bits_per_component: int | None = None
    bits_per_sample: int | None = None
    initial_padding: int | None = None
    trailing_padding: int | None = None
    subtitle_size: tuple[int | None, int | None] = (None, None)
    closed_captions: bool = False
    film_grain: bool = False
    side_data: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HeaderDump:
    """Streams by index."""

    streams: dict[int, StreamDump]
    programs: tuple[Program, ...]


def header_dump(container: InputContainer) -> HeaderDump:
    # Tags of the file come before this line, and none of theirs can look like it: libav indents their further lines.
    _, _, text = _dump(container).partition("\n  Duration: ")
    return HeaderDump(_streams(text), _programs(text))


def _dump(container: InputContainer) -> str:
    with talkative():
        return str(container.dumps_format())  # type: ignore[attr-defined]  # PyAV's stubs leave it out


def _streams(text: str) -> dict[int, StreamDump]:
    heads: dict[int, str] = {}
    side_data: dict[int, dict[str, str]] = {}
    index, within = -1, ""
    for line in text.split("\n"):
        if stream := _STREAM.fullmatch(line):
            index, within = int(stream[1]), ""
            heads[index], side_data[index] = stream[2], {}
        elif not line.startswith("      "):
            within = line.strip()
        elif within == "Side data:" and index in side_data and (found := _SIDE_DATA.fullmatch(line)):
            side_data[index][found[1]] = found[2].strip()
    return {index: _stream(head, side_data[index]) for index, head in heads.items()}


def _stream(head: str, side_data: dict[str, str]) -> StreamDump:
    tag = _TAG.search(head)
    size = _SUBTITLE_SIZE.search(head)
    chroma_location = _CHROMA_LOCATION.search(head)
    return StreamDump(
        codec_tag=tag[1] if tag else None,
        codec_tag_number=int(tag[2], 16) if tag else None,
        chroma_location=chroma_location[1] if chroma_location else None,
        bits_per_component=_number(_BITS_PER_COMPONENT, head),
        bits_per_sample=_number(_BITS_PER_SAMPLE, head),
        initial_padding=_number(_DELAY, head),
        trailing_padding=_number(_PADDING, head),
        subtitle_size=(int(size[1]), int(size[2])) if size else (None, None),
        closed_captions=", Closed Captions" in head,
        film_grain=", Film Grain" in head,
        side_data=side_data,
    )


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return int(found[1]) if found else None


def _programs(text: str) -> tuple[Program, ...]:
    programs: list[Program] = []
    streams: list[int] = []
    tags: dict[str, str] = {}
    in_program = False
    for line in text.split("\n"):
        if program := _PROGRAM.fullmatch(line):
            streams, tags, in_program = [], {}, True
            programs.append(Program(id=int(program[1]), name=program[2] or None, streams=(), tags={}))
        elif line == "  No Program":
            in_program = False
        elif in_program and (stream := _STREAM.fullmatch(line)):
            streams.append(int(stream[1]))
            programs[-1] = programs[-1].model_copy(update={"streams": tuple(streams)})
        elif in_program and not streams and (tag := _METADATA.fullmatch(line)):
            tags[tag[1]] = tag[2]
            programs[-1] = programs[-1].model_copy(update={"tags": dict(tags)})
    return tuple(programs)
