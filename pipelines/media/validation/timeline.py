"""Whether the times of a file's packets make one timeline: rising, without gaps, as long as the header says."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipelines.media.demuxing import UNDATED, Ticks
from pipelines.media.libav_log import ERROR, WARNING
from pipelines.media.output_streams import MATROSKA
from pipelines.media.validation.finding_log import FindingLog
from pipelines.media.validation.scan import Scan, ScannedStream

_TIMED = frozenset({"video", "audio"})
_FEWEST_STEPS = 5  # fewer don't tell how long a frame usually stands
_FEW_STEPS = 12  # of fewer, one in four may differ
_CONSTANT, _STRICT = 0.85, 0.95  # of the steps are alike: frames come at one rate; cameras' clocks jitter
_ALIKE, _STRICTLY_ALIKE = 0.15, 0.01
_ROUNDED_S = 0.0021  # two ticks of a clock of milliseconds
_SOUND_GAP_S = 0.015  # muxers of Vorbis are off by 11 ms at its short blocks
_PACKETS_OFF = 0.9  # of a packet of sound; recorders stamp them with the time they came at
_SHORT_BY_S = 0.1
_LONGER_S, _LONGER = 1.0, 0.05
_ENDS_DIFFER_S = 1.0
_APART_S = 1.0  # packets of picture and sound that lie beside each other
# Recorders and encoders take their time to start: what is missing behind so many frames, for so long, was never there.
_START, _START_S = {"video": 1, "audio": 2}, 0.25
# Times that aren't in the container, but worked out from few: single ones are wrong without anything missing.
LOOSE = frozenset({"mpeg"})
LOOSE_STEPS = 4.5
# Containers whose header has a length of its own for each stream, and those that have one for all.
_STREAM_LENGTHS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "avi", "wav", "flac"})
_FILE_LENGTHS = frozenset({MATROSKA, "flv", "asf"})


def check_timelines(scan: Scan, size_bytes: int, log: FindingLog, head: Scan | None = None) -> None:
    """Check all streams of ``scan``, and each against the others and the header.

    ``head``: what was read from the start, where ``scan`` is only the end.
    """
    _check_reading(scan, log)
    if head is None:
        _check_index(scan, size_bytes, log)
    timed = [stream for stream in scan.streams if stream.kind in _TIMED and not stream.attached]
    for stream in timed:
        _check_stream(stream, scan, log)
        if scan.container in _STREAM_LENGTHS and scan.to_end:
            _check_length(stream, stream if head is None else head.streams[stream.index], log)
    if scan.container in _FILE_LENGTHS and scan.duration_s is not None and scan.to_end:
        _check_file_length(scan, log)
    if scan.to_end:
        _check_ends(timed, log)


def span(stream: ScannedStream) -> tuple[float | None, float | None]:
    """When a stream is shown first, and until when, from the container's start."""
    times, seen = stream.times, ~np.array(stream.hidden, bool)
    dated = (times != UNDATED) & seen
    if not dated.any():
        return None, None
    ends = times + np.array(stream.durations, np.int64)
    return stream.seconds(int(times[dated].min())), stream.seconds(int(ends[dated].max()))


def _check_index(scan: Scan, size_bytes: int, log: FindingLog) -> None:
    if scan.index_end_bytes > size_bytes:
        log.add("index_beyond_end", evidence=f"{scan.index_end_bytes} of {size_bytes} bytes")


def _check_reading(scan: Scan, log: FindingLog) -> None:
    if scan.failed is not None:
        log.add("read_error", evidence=scan.failed)
    if scan.unlisted:
        log.add("stream_unlisted")
    pictures = [stream for stream in scan.streams if stream.kind == "video" and len(stream)]
    entry_s = max((each.seconds(entry) for each in pictures if (entry := _entry(each)) != UNDATED), default=None)
    for time_s, message in scan.messages:  # of decoders, too: a look at the first packets tells what streams are
        if message.name != scan.container and entry_s is not None and (time_s is None or time_s < entry_s + _APART_S):
            continue  # of what comes before the first keyframe
        if message.level <= ERROR:
            code = "container_damaged" if message.name == scan.container else "decoder_error"
            log.add(code, None, time_s, f"{message.name}: {message.text}")
        elif message.level <= WARNING:
            log.add("container_odd", None, time_s, f"{message.name}: {message.text}")


def _entry(stream: ScannedStream) -> int:
    """When the first keyframe is shown, where others are shown before it; ``UNDATED`` where none are.

    Until then decoders miss what was before, and libav's guesses of when packets of Matroska are decoded are off.
    """
    times = stream.times[stream.times != UNDATED]
    keys = stream.times[np.array(stream.keys, bool)]
    entry = int(keys[0]) if len(keys) else int(stream.times[-1])
    return entry if len(times) and times.min() < entry else UNDATED


def _check_stream(stream: ScannedStream, scan: Scan, log: FindingLog) -> None:
    if not len(stream.sizes):
        return
    loose = scan.container in LOOSE
    shown, decoded = np.array(stream.shown, np.int64), np.array(stream.decoded, np.int64)
    corrupt = np.flatnonzero(np.array(stream.corrupt, bool))
    _add(log, "packet_marked_corrupt", stream, stream.times, corrupt)
    _add(log, "bytes_lost", stream, stream.times, np.flatnonzero(np.array(stream.zeroed, bool)))
    undated = np.flatnonzero(stream.times == UNDATED)
    if 0 < len(undated) < len(shown) // 2:  # where most have none, the container has none
        _add(log, "times_missing", stream, stream.times, undated)
    if not loose:
        dated, durations = decoded[decoded != UNDATED], np.array(stream.durations, np.int64)[decoded != UNDATED]
        least = np.minimum(durations[:-1], 2) // 2  # packets of less than two ticks may come at the same
        disordered = np.flatnonzero(np.diff(dated) < least) + 1
        if scan.container == MATROSKA:
            disordered = disordered[dated[disordered] > _entry(stream)]
        _add(log, "times_disordered", stream, dated, disordered)
        both = (shown != UNDATED) & (decoded != UNDATED)
        _add(log, "shown_before_decoded", stream, decoded, np.flatnonzero(both & (shown < decoded)))
    if stream.kind == "video":
        if scan.from_start and not stream.keys[0]:
            log.add("no_keyframe_first", stream.index, 0.0)
        _check_pictures(stream, _all_read(stream, scan), log, loose=loose)
    else:
        _check_sound(stream, log, loose=loose)


def _all_read(stream: ScannedStream, scan: Scan) -> Ticks:
    """When pictures are shown, in order, but for those at a border of what was read: others lie between them.

    Behind a keyframe nothing is shown that is decoded before it, and nothing is shown before it is decoded.
    """
    times, decoded = stream.times, np.array(stream.decoded, np.int64)
    seen = (times != UNDATED) & ~np.array(stream.hidden, bool)
    keys = times[np.array(stream.keys, bool) & seen]
    if not scan.from_start or (len(keys) and not stream.keys[0]):
        seen &= times >= keys[0] if len(keys) else False
    if not scan.to_end:
        seen &= times <= decoded.max()
    return np.sort(times[seen])


def _check_pictures(stream: ScannedStream, times: Ticks, log: FindingLog, *, loose: bool) -> None:
    steps = np.diff(times)
    usual = _usual(steps, stream)
    if loose and usual is not None:
        _add_gaps(log, stream, times, steps, np.flatnonzero(steps > LOOSE_STEPS * usual))
    if loose:
        return
    _add(log, "times_repeated", stream, times, np.flatnonzero(steps == 0) + 1)
    if usual is None:
        return
    rounding = max(1.0, _ROUNDED_S / float(stream.time_base))
    strict = float((np.abs(steps - usual) <= max(rounding, _STRICTLY_ALIKE * usual)).mean()) >= _STRICT
    longest, shortest = (1.3, 0.7) if strict else (1.5, 0.5)
    _add_gaps(log, stream, times, steps, np.flatnonzero(steps > longest * usual + rounding))
    close = (steps > 0) & (steps < shortest * usual - rounding)
    _add_steps(log, "overlap", stream, times, steps, np.flatnonzero(close))


def _check_sound(stream: ScannedStream, log: FindingLog, *, loose: bool) -> None:
    times = stream.times
    dated = times != UNDATED
    times, durations = times[dated], np.array(stream.durations, np.int64)[dated]
    steps = np.diff(times)
    usual = _usual(steps, stream)
    tick_s = float(stream.time_base)
    # Packets of Vorbis have two lengths, those of MP4 whatever time there is to the next.
    if usual is not None and (durations == np.median(durations)).mean() >= _STRICT:
        off = steps - usual
        least = max((LOOSE_STEPS if loose else _PACKETS_OFF) * usual, 2.0, _SOUND_GAP_S / tick_s)
    elif (durations[:-1] > 0).all() and len(steps):
        off = (steps - durations[:-1]).astype(np.float64)
        least = max(2.0, _SOUND_GAP_S / tick_s)
    else:
        return
    _add_gaps(log, stream, times, steps, np.flatnonzero(off > least))
    _add_steps(log, "overlap", stream, times, steps, np.flatnonzero((off < -least) & (steps > 0)))


def _usual(steps: Ticks, stream: ScannedStream) -> float | None:
    """How long a frame usually stands, in ticks, where frames come at one rate."""
    if len(steps) < _FEWEST_STEPS:
        return None
    usual = float(np.median(steps))
    alike = np.abs(steps - usual) <= max(1.0, _ALIKE * usual, _ROUNDED_S / float(stream.time_base))
    others = int((~alike).sum())
    few = max(1, len(steps) // 4) if len(steps) < _FEW_STEPS else 0
    return usual if usual > 0 and others <= max(few, (1 - _CONSTANT) * len(steps)) else None


def _check_length(stream: ScannedStream, head: ScannedStream, log: FindingLog) -> None:
    begin_s, end_s = span(head)[0], span(stream)[1]
    if stream.length is None or begin_s is None or end_s is None:
        return
    length_s = float(stream.length * stream.time_base)
    expected_s = max(0.0, begin_s) + length_s
    _compare(stream.index, end_s, expected_s, length_s, log)


def _check_file_length(scan: Scan, log: FindingLog) -> None:
    assert scan.duration_s is not None
    ends = [end_s for stream in scan.streams if (end_s := span(stream)[1]) is not None]
    if ends:
        # Muxers don't agree whether a film that starts late lasts from its start or from zero.
        end_s = max(ends) + max(0.0, float(scan.streams[0].start))
        _compare(None, end_s, scan.duration_s, scan.duration_s, log)


def _compare(stream: int | None, end_s: float, expected_s: float, length_s: float, log: FindingLog) -> None:
    evidence = f"ends at {end_s:.3f} s, the header says {expected_s:.3f} s"
    if end_s < expected_s - _SHORT_BY_S:
        log.add("ends_early", stream, end_s, evidence)
    elif end_s > expected_s + max(_LONGER_S, _LONGER * length_s):
        log.add("lasts_longer", stream, end_s, evidence)


def _check_ends(timed: Iterable[ScannedStream], log: FindingLog) -> None:
    first = {stream.kind: stream for stream in reversed(list(timed))}
    ends = [span(stream)[1] for stream in first.values()]
    if len(ends) == 2 and ends[0] is not None and ends[1] is not None and abs(ends[0] - ends[1]) > _ENDS_DIFFER_S:
        log.add("ends_differ", None, min(ends[0], ends[1]), f"by {abs(ends[0] - ends[1]):.3f} s")


def _add(log: FindingLog, code: str, stream: ScannedStream, times: Ticks, places: NDArray[np.intp]) -> None:
    """Note what is met at some of ``times``."""
    if len(places):
        known = [stream.seconds(int(times[place])) for place in places if times[place] != UNDATED]
        first_s, last_s = (known[0], known[-1]) if known else (None, None)
        log.add(code, stream.index, first_s, last_s=last_s, count=len(places))


def _add_gaps(log: FindingLog, stream: ScannedStream, times: Ticks, steps: Ticks, places: NDArray[np.intp]) -> None:
    at_start = (places < _START[stream.kind]) & (steps[places] * float(stream.time_base) < _START_S)
    _add_steps(log, "slow_start", stream, times, steps, places[at_start])
    _add_steps(log, "gap", stream, times, steps, places[~at_start])


def _add_steps(
    log: FindingLog, code: str, stream: ScannedStream, times: Ticks, steps: Ticks, places: NDArray[np.intp]
) -> None:
    if len(places):
        begin_s, last_s = stream.seconds(int(times[places[0]])), stream.seconds(int(times[places[-1]]))
        evidence = _length(stream, int(steps[places[0]]))
        log.add(code, stream.index, begin_s, evidence, last_s=last_s, count=len(places))


def _length(stream: ScannedStream, ticks: int) -> str:
    return f"{float(ticks * stream.time_base):.3f} s from one to the next"
