"""What the packets of a file show without being decoded: groups of pictures, bit rates, how long frames are shown."""

import time

import av
from av.container import InputContainer

from pipelines.media.demuxing import packets_of
from pipelines.media.info import MediaInfo, VideoInfo
from pipelines.media.probing.probe_result import PacketFindings
from pipelines.media.probing.tally import StreamTally
from pipelines.media.progress import OnProgress, ProgressMeter
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.timing import start_of
from pipelines.media.truncation import ends_early


def find_in_packets(source: Source, info: MediaInfo, on_progress: OnProgress) -> PacketFindings:
    """Read all packets of ``source``, whose headers tell ``info``, as far as they can be read.

    Raises:
        SourceError: see ``open_input``.
    """
    started_s = time.monotonic()
    meter = ProgressMeter(on_progress, info.duration_s)
    with open_input(source) as container:
        start = start_of(container)
        tallies = [StreamTally(stream, start) for stream in container.streams]
        failed = _read(container, tallies, meter)
        pictures = {s.index for s in info.streams if isinstance(s, VideoInfo) and not s.attached_picture}
        video = tuple(tally.picture() for tally in tallies if tally.index in pictures)
        audio = tuple(tally.found() for tally in tallies if tally.kind == "audio")
        timed = {stream.index for stream in (*video, *audio)}
        other = tuple(tally.found() for tally in tallies if tally.index not in timed)
    end_s = max((stream.end_s for stream in (*video, *audio) if stream.end_s is not None), default=None)
    meter.finish(end_s or 0.0, sum(stream.packets for stream in video))
    return PacketFindings(
        video=video,
        audio=audio,
        other=other,
        end_s=end_s,
        warnings=_warnings(source, info, sum(map(len, tallies)), end_s, failed),
        elapsed_s=round(time.monotonic() - started_s, 3),
    )


def _read(container: InputContainer, tallies: list[StreamTally], meter: ProgressMeter) -> str | None:
    """Why it can't be read to its end, if so."""
    frames, last_s = 0, 0.0
    try:
        for packet in packets_of(container):
            if packet.size:
                tally = tallies[packet.stream_index]
                last_s = max(last_s, tally.note(packet))
                frames += tally.kind == "video"
                meter.update(last_s, frames)
    except av.error.FFmpegError as error:
        return f"can't be read beyond {last_s:.1f} s: {error.strerror}"
    return None


def _warnings(
    source: Source, info: MediaInfo, packets: int, end_s: float | None, failed: str | None
) -> tuple[str, ...]:
    warnings = []
    if failed is not None:
        warnings.append(f"{name_of(source)} {failed}.")
    if not packets:
        warnings.append(f"Nothing of {name_of(source)} can be read but its headers: it was cut off, or is damaged.")
    elif end_s is None:
        warnings.append(f"{name_of(source)} has no sound and no pictures with a time.")
    elif ends_early(info, end_s + info.start_s):
        warnings.append(f"{name_of(source)} ends after {end_s:.1f} of {info.duration_s or 0:.1f} s: it was cut off.")
    return tuple(warnings)
