"""Prove an output: read it back, with or without decoding it, and compare it with what was written."""

import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream
from pydantic import BaseModel

from pipelines.media.damage import Damage, first_of, first_times, set_to_tell
from pipelines.media.errors import OutputInvalidError, SourceError
from pipelines.media.profiles import DamagePolicy
from pipelines.media.progress import OnProgress, Progress, ProgressMeter
from pipelines.media.results import Expected, ExpectedStream
from pipelines.media.source import open_input, shown_at
from pipelines.media.ticks import end_s_of
from pipelines.media.timing import start_of
from pipelines.media.tracks import Window


class Verification(BaseModel, frozen=True, extra="forbid"):
    """``frames`` counts the decoded pictures, ``samples`` the decoded sound of all tracks.

    ``decode_errors`` and ``damaged_at_s`` are those of what was copied: damage that it took over from the source.
    """

    frames: int
    samples: int
    decode_errors: int
    damaged_at_s: tuple[float, ...]
    warnings: tuple[str, ...]
    elapsed_s: float


@dataclass(frozen=True)
class TakenOver:
    """Damage of the source that is in what was copied of it, as far as that was decoded."""

    errors: int
    damaged_at_s: tuple[float, ...]
    warnings: tuple[str, ...]


@dataclass
class _Seen:
    """What was found in one stream so far; ``damage`` of one that was copied and is decoded."""

    decoded: bool = False
    damage: Damage | None = None
    packets: int = 0
    frames: int = 0
    samples: int = 0
    errors: int = 0
    last_dts: int | None = None
    end_s: float = 0.0
    disorders: list[int] = field(default_factory=list)

    def fault(self, pts: int | None = None) -> None:
        if self.damage is None:
            self.errors += 1
        else:
            self.damage.found(pts)


def verify_output(
    target: Path,
    expected: Expected,
    on_progress: OnProgress | None = None,
    base: float = 0.0,
    share: float = 1.0,
    damage: DamagePolicy = "conceal",
) -> Verification:
    """Decode ``target`` whole and check counts, order and ends.

    Raises:
        OutputInvalidError: it isn't what was written.
        SourceUnreadableError: what was copied is damaged, and ``damage`` is to fail then.
    """
    started_s = time.monotonic()
    duration_s = max((stream.end_s for stream in expected.streams), default=None)
    made = max((stream.frames or 0 for stream in expected.streams), default=0)

    def tell(progress: Progress) -> None:
        # All of it is made already: frames and position stay where they are while the fraction goes on.
        if on_progress:
            on_progress(progress.model_copy(update={"frames": made, "position_s": duration_s or 0.0}))

    meter = ProgressMeter(tell, duration_s, base, share)
    with _opened(target) as container:
        seen = _read_all(container, expected, meter, damage, expected.streams)
    warnings = [w for stream in expected.streams if (w := _check(target.name, stream, seen[stream.index])) is not None]
    frames = sum(s.frames for s in seen.values())
    meter.finish(duration_s or 0.0, frames)
    shared = [s.damage for s in seen.values() if s.damage is not None]
    return Verification(
        frames=frames,
        samples=sum(s.samples for s in seen.values()),
        decode_errors=sum(each.errors for each in shared),
        damaged_at_s=first_times(*(each.times_s for each in shared)),
        warnings=tuple(warnings),
        elapsed_s=time.monotonic() - started_s,
    )


def verify_packets(
    target: Path,
    expected: Expected,
    on_progress: OnProgress,
    base: float,
    share: float,
    damage: DamagePolicy,
) -> TakenOver:
    """Read ``target`` whole and check counts, order and ends; decode sound that was copied, which takes little.

    Other streams that were copied are decoded if ``damage`` is to fail.

    Raises:
        OutputInvalidError: it isn't what was written.
        SourceUnreadableError: what was copied is damaged, and ``damage`` is to fail then.
    """
    meter = ProgressMeter(on_progress, max((stream.end_s for stream in expected.streams), default=None), base, share)
    copied = [stream for stream in expected.streams if stream.copied]
    decoded = [stream for stream in copied if damage == "fail" or stream.kind == "audio"]
    with _opened(target) as container:
        seen = _read_all(container, expected, meter, damage, decoded)
    for stream in expected.streams:
        _check_packets(target.name, stream, seen[stream.index])
    found = [each.damage for each in seen.values() if each.damage is not None]
    return TakenOver(
        errors=sum(each.errors for each in found),
        damaged_at_s=first_times(*(each.times_s for each in found)),
        warnings=tuple(told for stream in decoded if (told := _taken_over(stream, seen[stream.index])) is not None),
    )


@contextmanager
def _opened(target: Path) -> Iterator[InputContainer]:
    with ExitStack() as opened:
        try:
            container = opened.enter_context(open_input(target))
        except SourceError as error:
            raise OutputInvalidError(f"{target.name} can't be read back: {error.message}") from error
        yield container


def _read_all(
    container: InputContainer,
    expected: Expected,
    meter: ProgressMeter,
    damage: DamagePolicy,
    decoded: Collection[ExpectedStream],
) -> dict[int, _Seen]:
    seen = {stream.index: _Seen() for stream in expected.streams}
    if any(index >= len(container.streams) for index in seen):
        raise OutputInvalidError(
            f"The output has {len(container.streams)} streams; some that were written are missing."
        )
    streams = [container.streams[index] for index in seen]
    for stream in streams:
        if stream.type == "video":
            stream.codec_context.thread_type = "AUTO"
    for each in decoded:
        seen[each.index].decoded = True
        if each.copied:
            seen[each.index].damage = _damage(container.streams[each.index], each, damage)
    start_s = float(start_of(container))
    try:
        for packet in container.demux(streams):
            found = seen[packet.stream.index]  # stream_index is 0 in the packet that drains a decoder
            _note(packet, found)
            if found.decoded:
                _decode(packet, found)
            meter.update(found.end_s - start_s, 0)
    except av.error.FFmpegError as error:
        raise OutputInvalidError(f"The output can't be read to its end: {error.strerror}.") from error
    return seen


def _damage(stream: Stream, expected: ExpectedStream, policy: DamagePolicy) -> Damage:
    """What counts the damage of a copied stream, whose times are the source's."""
    if policy == "fail" and isinstance(stream, VideoStream):
        set_to_tell(stream.codec_context)
    time_base = stream.time_base or Fraction(1, 1000)
    return Damage("picture" if expected.kind == "video" else "sound", policy, time_base, 0, Window())


def _note(packet: "Packet[Any]", seen: _Seen) -> None:
    if packet.size:
        seen.packets += 1
        if packet.dts is not None:
            if seen.last_dts is not None and packet.dts <= seen.last_dts:
                seen.disorders.append(packet.dts)
            seen.last_dts = packet.dts
        seen.end_s = max(seen.end_s, end_s_of(packet))


def _decode(packet: "Packet[Any]", seen: _Seen) -> None:
    if seen.damage is not None:
        seen.damage.reading(packet)
    try:
        for frame in packet.decode():
            seen.frames += 1
            if isinstance(frame, av.AudioFrame):
                seen.samples += frame.samples
            elif seen.damage is not None and frame.is_corrupt:
                seen.fault(shown_at(frame))
    except av.error.EOFError:
        pass
    except av.error.FFmpegError:
        seen.fault()


def _check(name: str, stream: ExpectedStream, seen: _Seen) -> str | None:
    """Raise if ``stream`` isn't as written; return a warning for faults that a copy took over from the source."""
    _check_packets(name, stream, seen)
    if stream.frames is not None and seen.frames != stream.frames:
        raise _invalid(name, stream, f"{seen.frames} frames decode, {stream.frames} were encoded")
    if seen.damage is None:
        if seen.errors:
            raise _invalid(name, stream, f"{seen.errors} of its packets don't decode")
        if stream.packets and not seen.frames:
            raise _invalid(name, stream, "nothing in it decodes")
        return None
    return _taken_over(stream, seen)


def _taken_over(stream: ExpectedStream, seen: _Seen) -> str | None:
    """A warning for faults that a copy took over from the source."""
    if seen.damage is None or not seen.damage.errors:
        return None
    errors = seen.damage.errors
    told = "1 error" if errors == 1 else f"{errors} errors"
    return f"The copied {stream.kind} has {told}, as in the source{first_of(errors, seen.damage.times_s)}."


def _check_packets(name: str, stream: ExpectedStream, seen: _Seen) -> None:
    if seen.disorders:
        raise _invalid(name, stream, f"{len(seen.disorders)} packets are out of order")
    if seen.packets < stream.packets:
        raise _invalid(name, stream, f"it holds {seen.packets} packets, {stream.packets} were written")
    if abs(seen.end_s - stream.end_s) > stream.tolerance_s:
        raise _invalid(name, stream, f"it ends at {seen.end_s:.3f} s instead of {stream.end_s:.3f} s")


def _invalid(name: str, stream: ExpectedStream, what: str) -> OutputInvalidError:
    return OutputInvalidError(f"{name}, {stream.kind} stream {stream.index}: {what}.", stream=stream.index)
