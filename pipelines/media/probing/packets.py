"""What the packets of a file show without being decoded: groups of pictures, bit rates, how long frames are shown."""

import time
from collections.abc import Sequence

import av
from av.container import InputContainer

from pipelines.media.demuxing import packets_of
from pipelines.media.info import MediaInfo, VideoInfo
from pipelines.media.probing.probe_result import PacketFindings
from pipelines.media.probing.tally import StreamTally
from pipelines.media.progress import OnProgress, ProgressMeter
from pipelines.media.source import Source, name_of, open_input
from pipelines.media.timing import start_of
from pipelines.media.truncation import ends_early, film_end_s


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
    found = packet_findings(source, info, tallies, failed)
    meter.finish(found.end_s or 0.0, sum(stream.packets for stream in found.video))
    return found.model_copy(update={"elapsed_s": round(time.monotonic() - started_s, 3)})


def packet_findings(
    source: Source, info: MediaInfo, tallies: Sequence[StreamTally], failed: str | None
) -> PacketFindings:
    """What the packets of all streams of ``source`` show. ``failed``: why not all could be read, if so."""
    pictures = {s.index for s in info.streams if isinstance(s, VideoInfo) and not s.attached_picture}
    video = tuple(tally.picture() for tally in tallies if tally.index in pictures)
    audio = tuple(tally.found() for tally in tallies if tally.kind == "audio")
    timed = {stream.index for stream in (*video, *audio)}
    other = tuple(tally.found() for tally in tallies if tally.index not in timed)
    end_s = max((stream.end_s for stream in (*video, *audio) if stream.end_s is not None), default=None)
    shown_s = max((stream.end_s for stream in (*video, *audio, *other) if stream.end_s is not None), default=None)
    warnings = _warnings(source, info, sum(map(len, tallies)), end_s, shown_s)
    if failed is not None:
        reached_s = max((tally.latest_s for tally in tallies), default=0.0)
        warnings = (f"{name_of(source)} can't be read beyond {max(0.0, reached_s):.1f} s: {failed}.", *warnings)
    return PacketFindings(video=video, audio=audio, other=other, end_s=end_s, warnings=warnings, elapsed_s=0.0)


def _read(container: InputContainer, tallies: Sequence[StreamTally], meter: ProgressMeter) -> str | None:
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
        return str(error.strerror)
    return None


def _warnings(
    source: Source, info: MediaInfo, packets: int, end_s: float | None, shown_s: float | None
) -> tuple[str, ...]:
    name = name_of(source)
    if not packets:
        return (f"Nothing of {name} can be read but its headers: it was cut off, or is damaged.",)
    if end_s is None or shown_s is None:
        return (f"{name} has no sound and no pictures with a time.",)
    if ends_early(info, film_end_s(source, info, end_s + info.start_s, shown_s + info.start_s)):
        return (f"{name} ends after {end_s:.1f} of {info.duration_s or 0:.1f} s: it was cut off.",)
    return ()
