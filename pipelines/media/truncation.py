"""Tell sources that were cut off from whole ones."""

from av.container import InputContainer

from pipelines.media.errors import SourceTruncatedError
from pipelines.media.info import MediaInfo
from pipelines.media.output_streams import MATROSKA
from pipelines.media.plan import TranscodePlan
from pipelines.media.source import Source, name_of

# Containers whose header tells a duration that can be trusted: an end well before it means that the file was cut.
_HONEST_DURATIONS = frozenset({MATROSKA, "mov,mp4,m4a,3gp,3g2,mj2", "wav", "flac", "asf", "flv"})
_MISSING_END_S = 1.0


def check_index(source: Source, container: InputContainer, plan: TranscodePlan) -> None:
    """An index that points behind the end of the file tells before any work that it was cut off.

    Raises:
        SourceTruncatedError: it was.
    """
    for stream_plan in plan.kept:
        entries = container.streams[stream_plan.source_index].index_entries
        if len(entries) and entries[len(entries) - 1].pos + entries[len(entries) - 1].size > plan.source.size_bytes:
            name = name_of(source)
            raise SourceTruncatedError(f"{name} was cut off: its index names data behind its end; copy it again.")


def check_end(plan: TranscodePlan, end_s: float, name: str) -> None:
    """Compare where the packets end, on the source's clock, with what the header says.

    Raises:
        SourceTruncatedError: the file ends well before.
    """
    if ends_early(plan.source, end_s):
        raise SourceTruncatedError(
            f"{name} ends after {end_s:.1f} of {plan.source.duration_s:.1f} s; copy or record it again.",
            end_s=round(end_s, 3),
            duration_s=plan.source.duration_s,
        )


def ends_early(info: MediaInfo, end_s: float) -> bool:
    """Whether packets that end at ``end_s``, on the source's clock, end well before what an honest header says."""
    if info.duration_s is None or info.container not in _HONEST_DURATIONS:
        return False
    # Matroska's muxers don't agree whether a film that starts late lasts from its start or from zero.
    end_s = max(end_s, end_s - info.start_s)
    length_s = info.duration_s - info.start_s if 0 < info.start_s < info.duration_s else info.duration_s
    return end_s < info.duration_s - max(_MISSING_END_S, length_s / 50)
