"""Tell sources that were cut off from whole ones."""

import math
from fractions import Fraction

from av.container import InputContainer
from av.index import IndexEntry

from pipelines.media.ebml import SEGMENT, element_at
from pipelines.media.errors import SourceTruncatedError, SourceUnreadableError
from pipelines.media.info import MediaInfo
from pipelines.media.output_streams import MATROSKA, clock_of
from pipelines.media.plan import TranscodePlan
from pipelines.media.reading import Reading
from pipelines.media.source import Source, name_of, open_file

# Containers whose header tells a duration that can be trusted: an end well before it means that the file was cut.
HONEST_DURATIONS = frozenset({MATROSKA, "mov,mp4,m4a,3gp,3g2,mj2", "wav", "flac", "asf", "flv"})
_MISSING_END_S = 1.0
_EBML_HEAD_BYTES = 4096  # EBML's header takes forty, and may be padded


def check_index(source: Source, container: InputContainer, plan: TranscodePlan) -> None:
    """An index that points behind the end of the file tells before any work that it was cut off.

    Raises:
        SourceTruncatedError: it was, and some of what is wanted is missing.
    """
    end, size_bytes = clock_of(container, plan).end, plan.source.size_bytes
    missing = []
    for stream_plan in plan.kept:
        stream = container.streams[stream_plan.source_index]
        entries = stream.index_entries
        if len(entries) and _behind(entries[len(entries) - 1], size_bytes):
            first = next(entry for entry in entries if _behind(entry, size_bytes))
            missing.append(first.timestamp * (stream.time_base or Fraction(1, 1000)))
    if missing and (end is None or min(missing) < end):
        advice = _advice(plan, float(min(missing)))
        raise SourceTruncatedError(f"{name_of(source)} was cut off: its index names data behind its end; {advice}.")


def _behind(entry: IndexEntry, size_bytes: int) -> bool:
    return entry.pos + entry.size > size_bytes


def check_end(source: Source, plan: TranscodePlan, read: Reading) -> None:
    """Compare where the packets end with what the header says and what is wanted.

    Raises:
        SourceTruncatedError: the file ends well before.
    """
    info = plan.source
    end_s = film_end_s(source, info, read.played_s, read.shown_s)
    if plan.end_s is not None and end_s >= info.start_s + plan.end_s:
        return
    if ends_early(info, end_s):
        raise SourceTruncatedError(
            f"{name_of(source)} ends after {end_s:.1f} of {info.duration_s:.1f} s; {_advice(plan, end_s)}.",
            end_s=round(end_s, 3),
            duration_s=info.duration_s,
        )


def film_end_s(source: Source, info: MediaInfo, played_s: float, shown_s: float) -> float:
    """Where a film ends whose pictures and sound end at one time and all of it, subtitles too, at another.

    Subtitles may be shown longer than there is a film; of one that was cut off they tell nothing. Times are on the
    source's clock.
    """
    cut_off = info.container == MATROSKA and ends_early(info, played_s) and _is_cut(source, info.size_bytes)
    return played_s if cut_off else shown_s


def _is_cut(source: Source, size_bytes: int) -> bool:
    """Whether Matroska's segment, which holds the film, is larger than the file."""
    try:
        with open_file(source) as file:
            head = file.read(_EBML_HEAD_BYTES) or b""
    except OSError as error:
        message = f"{name_of(source)} can't be read: {error.strerror or error}."
        raise SourceUnreadableError(message, errno=error.errno) from error
    ebml = element_at(head, 0, 0)
    segment = None if ebml is None or ebml.end is None else element_at(head, ebml.end, 0)
    return segment is not None and segment.name == SEGMENT and segment.end is not None and segment.end > size_bytes


def _advice(plan: TranscodePlan, end_s: float) -> str:
    """What to do about a file that is whole up to ``end_s``, on its clock."""
    whole_s = math.floor(end_s - plan.source.start_s)
    if whole_s <= (plan.start_s or 0):
        return "copy or record it again"
    return f"copy or record it again, or set end to {whole_s} to take what is whole"


def ends_early(info: MediaInfo, end_s: float) -> bool:
    """Whether packets that end at ``end_s``, on the source's clock, end well before what an honest header says."""
    if info.duration_s is None or info.container not in HONEST_DURATIONS:
        return False
    # Matroska's muxers don't agree whether a film that starts late lasts from its start or from zero.
    end_s = max(end_s, end_s - info.start_s)
    length_s = info.duration_s - info.start_s if 0 < info.start_s < info.duration_s else info.duration_s
    return end_s < info.duration_s - max(_MISSING_END_S, length_s / 50)
