"""Look at all that a pass decodes: what a decoder says, conceals, leaves out or leaves undone."""

import time
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame

from pipelines.media.demuxing import UNDATED, time_of
from pipelines.media.libav_log import ERROR, WARNING
from pipelines.media.parts import Part
from pipelines.media.passes import Fault, Listener, run_pass
from pipelines.media.progress import OnProgress
from pipelines.media.source import Source, shown_at
from pipelines.media.timing import start_of
from pipelines.media.validation.finding_log import FindingLog
from pipelines.media.validation.flac import FlacDigest
from pipelines.media.validation.report import Checked, StreamReport, kind_of
from pipelines.media.validation.sound_clock import SoundClock
from pipelines.media.validation.timeline import LOOSE
from pipelines.media.validation.unwritten import Unwritten

# Decoders that stop at a slice's end without a word; the others know how many blocks a picture has.
_SILENT = frozenset({"hevc", "vvc"})
# Each packet is one picture that is shown. VP8 has some that are for reference only, MPEG-4 some that repeat.
_ONE_EACH = frozenset({"h264", "hevc", "vvc", "vp9", "av1", "mpeg2video", "mpeg1video", "prores", "mjpeg", "ffv1"})
_START, _START_S = 2, 0.25  # frames: what is missing right behind them, for so long, was never there
# H.264 that is entered at a keyframe of an open group tells to forget frames that were before; so do some encoders.
_HARMLESS = ("mmco: unref short failure",)
_DECODED = frozenset({"video", "audio"})
_BARE = frozenset({"mp3", "aac"})  # streams without a container: tags may follow


def check_part(
    source: Source, part: Part, threads: int, on_progress: OnProgress, also: Sequence[Listener] = ()
) -> Checked:
    """Decode a part of ``source`` and tell what is wrong with it; others may listen ``also``.

    Raises:
        SourceError: see ``run_pass``.
    """
    started_s = time.monotonic()
    log = FindingLog()
    from_start = part.begin_pts is None
    listener = Decoding(log, whole=from_start and part.end_pts is None, from_start=from_start)
    failed = run_pass(source, part, (listener, *also), threads, on_progress)
    if failed is not None:
        log.add("read_error", evidence=failed)
    checked = listener.result()
    return checked.model_copy(update={"elapsed_s": round(time.monotonic() - started_s, 3)})


class _Stream:
    """What was seen of one stream.

    A recording that begins between keyframes, or with one that others lead, has packets first that need what was before
    it. ``entry``: when the first keyframe is shown, or a whole frame that comes before it.
    """

    def __init__(self, container: InputContainer, index: int, *, from_start: bool) -> None:
        stream = container.streams[index]
        context = stream.codec_context
        self.index = index
        self.kind = stream.type
        self.codec = None if context is None else str(context.codec.canonical_name)
        self.decoder = None if context is None else context.name
        self.time_base = stream.time_base or Fraction(1, 1000)
        self.attached = bool(stream.disposition & Disposition.attached_pic)
        self.packets = 0
        self.frames = 0
        self.samples = 0
        self.waiting: dict[int, None] = {}  # packets whose frames haven't come yet
        self.expects = self.kind == "video" and not self.attached and self.codec in _ONE_EACH
        self.unwritten = Unwritten() if self.codec in _SILENT else None
        self.first_pts: int | None = None
        self.last_pts: int | None = None
        self.entry: int | None = None if from_start else UNDATED
        self.entering = from_start  # packets may still come that are shown before the entry
        self.held_back = 0 if context is None else context.thread_count  # packets that are decoded beside each other
        self.unneeded = 0  # up to which packet faults are of those
        self.form: tuple[object, ...] | None = None
        self.digest = FlacDigest.of(stream)
        self.clock = SoundClock(float(self.time_base), loose=container.format.name in LOOSE)
        self.synced = True  # the last packet begins as one of the stream does
        self.foreign: tuple[int | None, str] | None = None  # one that doesn't, and can't be decoded

    def enter(self, packet: "Packet[Any]") -> None:
        time = time_of(packet)
        if self.entry is None and packet.is_keyframe:
            self.entry = UNDATED if time is None else time
        elif self.entry is None or (time is not None and time < self.entry):
            self.unneeded = self.packets + max(1, self.held_back) - 1
        else:
            self.entering = False

    def leads(self, pts: int | None) -> bool:
        """Whether what is shown at ``pts`` is shown before the entry."""
        return self.entry is None or (pts is not None and pts < self.entry)


class Decoding:
    """The listener that makes findings of a pass; of ``whole`` streams, or of a part of one."""

    def __init__(self, log: FindingLog, *, whole: bool = True, from_start: bool = True) -> None:
        self._whole = whole
        self._from_start = from_start
        self._start = Fraction(0)
        self._container_name = ""
        self._streams: dict[int, _Stream] = {}
        self._log = log

    def opened(self, container: InputContainer) -> None:
        self._start = start_of(container)
        self._container_name = container.format.name
        self._streams = {
            stream.index: _Stream(container, stream.index, from_start=self._from_start) for stream in container.streams
        }

    def packet(self, packet: "Packet[Any]") -> None:
        seen = self._streams[packet.stream_index]
        seen.packets += 1
        if seen.entering:
            seen.enter(packet)
        if self._container_name in _BARE:
            self._flush_foreign(seen)
            seen.synced = bytes(memoryview(packet)[:2])[:1] == b"\xff"
        if seen.expects and packet.pts is not None and not packet.is_discard:
            seen.waiting[packet.pts] = None

    def picture(self, stream: int, frame: VideoFrame) -> None:
        seen = self._streams[stream]
        seen.frames += 1
        pts = shown_at(frame)
        if pts is not None:
            seen.waiting.pop(pts, None)
            if seen.last_pts is not None and pts < seen.last_pts:
                self._note("frames_disordered", seen, pts)
            if seen.first_pts is None:
                seen.first_pts = pts
            seen.last_pts = pts
        if frame.is_corrupt:
            self._note("lead_in" if seen.leads(pts) else "frame_concealed", seen, pts)
        elif seen.entry is None:
            seen.entry = UNDATED if pts is None else pts
        form = (frame.width, frame.height)
        if form != seen.form:
            if seen.form is not None:
                self._note("picture_size_changed", seen, pts, f"{frame.width}x{frame.height}")
            seen.form = form
        if seen.unwritten is not None and (blocks := seen.unwritten.blocks(frame)):
            self._note("picture_unwritten", seen, pts, f"{blocks} of the places looked at")

    def sound(self, stream: int, frame: AudioFrame) -> None:
        seen = self._streams[stream]
        seen.frames += 1
        seen.samples += frame.samples
        if seen.digest is not None:
            seen.digest.add(frame)
        if frame.is_corrupt:
            self._note("frame_concealed", seen, frame.pts)
        form = (frame.sample_rate, len(frame.layout.channels))
        if form != seen.form:
            if seen.form is not None:
                self._note("sound_form_changed", seen, frame.pts, f"{form[0]} Hz, {form[1]} channels")
            seen.form = form
        if frame.pts is not None and frame.sample_rate:
            off_s = seen.clock.off_s(frame.pts, frame.samples / frame.sample_rate)
            if off_s:
                self._note_off(seen, frame.pts, off_s)

    def _note_off(self, seen: _Stream, pts: int, off_s: float) -> None:
        starts = 0 < off_s < _START_S and seen.clock.frames <= _START + 1
        code = "slow_start" if starts else "sound_gap" if off_s > 0 else "sound_overlap"
        self._note(code, seen, pts, f"{abs(off_s):.3f} s")

    def fault(self, fault: Fault) -> None:
        mine = self._streams[fault.stream]
        # On several threads, what one stream's decoder says may be heard while another's works.
        by_decoder = {each.decoder: each for each in (*self._streams.values(), mine) if each.kind in _DECODED}
        for message in fault.messages:
            seen = by_decoder.get(message.name)
            if seen is None or not seen.synced or message.text.startswith(_HARMLESS):
                continue  # the demuxer's were heard when all packets were read
            if seen.packets <= seen.unneeded:
                continue
            if message.level <= ERROR:
                self._note("decoder_error", seen, fault.pts, message.text)
            elif message.level <= WARNING:
                self._note("decoder_warning", seen, fault.pts, message.text)
        if fault.raised is None or mine.packets <= mine.unneeded:
            return
        if mine.synced:
            self._note("packet_undecodable", mine, fault.pts, fault.raised)
        else:
            mine.foreign = (fault.pts, fault.raised)

    def _flush_foreign(self, seen: _Stream) -> None:
        """What isn't of the stream is damage, unless nothing follows it."""
        if seen.foreign is not None:
            self._note("packet_undecodable", seen, *seen.foreign)
            seen.foreign = None

    def result(self) -> Checked:
        """What was found and counted, once the pass is over."""
        for seen in self._streams.values():
            for pts in seen.waiting:
                leads = seen.leads(pts) and (seen.first_pts is None or pts < seen.first_pts)
                self._note("lead_in" if leads else "frame_missing", seen, pts)
            if seen.foreign is not None:
                self._note("foreign_data", seen, *seen.foreign)
            if self._whole and seen.frames and seen.digest is not None and not seen.digest.fits():
                self._log.add("sound_differs", seen.index, evidence="by the MD5 of all samples")
            for pts, off_s in seen.clock.short:
                self._note_off(seen, pts, off_s)
        streams = tuple(
            StreamReport(
                index=seen.index, kind=kind_of(seen.kind), codec=seen.codec, frames=seen.frames, samples=seen.samples
            )
            for seen in self._streams.values()
        )
        return Checked(findings=tuple(self._log), streams=streams)

    def _note(self, code: str, seen: _Stream, pts: int | None, evidence: str | None = None) -> None:
        time_s = None if pts is None else float(pts * seen.time_base - self._start)
        self._log.add(code, seen.index, time_s, evidence)
