"""What a probe tells beyond the headers: what packets and what decoded frames show. The values that travel.

Times count from the container's start, in seconds.
"""

from typing import Literal

from pydantic import BaseModel

from pipelines.media.info import ContentLight, HdrKind, MasteringDisplay, MediaInfo
from pipelines.media.plan import Crop

Scan = Literal["progressive", "interlaced", "unmarked", "telecined"]


class BitRateCurve(BaseModel, frozen=True, extra="forbid"):
    """Mean bit rates of ``step_s`` seconds each, from ``begin_s`` on: at most 600.

    The last may cover less than the others. ``peak_bps`` is that of the fullest second, which begins at ``peak_at_s``;
    of a stream of less than one, its mean.
    """

    begin_s: float
    step_s: int
    values_bps: tuple[int, ...]
    peak_bps: int
    peak_at_s: float


class StreamPackets(BaseModel, frozen=True, extra="forbid"):
    """A stream as its packets show it. ``begin_s`` and ``end_s``: when it is shown, as far as packets have times.

    ``jumps``: how often times of decoding run backwards, or leave out more than a second of sound or ten of pictures;
    ``jumps_at_s``: the end of what is before the first ten.
    """

    index: int
    packets: int
    size_bytes: int
    begin_s: float | None = None
    end_s: float | None = None
    bit_rate_bps: int | None = None
    jumps: int = 0
    jumps_at_s: tuple[float, ...] = ()


class Groups(BaseModel, frozen=True, extra="forbid"):
    """Groups of pictures: from a keyframe up to the next one, in order of decoding.

    ``open``: how many have pictures that are shown before their keyframe, which may need the group before; the first
    group doesn't count. ``leading``: pictures before the first keyframe.
    """

    keyframes: int
    shortest_frames: int
    mean_frames: float
    longest_frames: int
    shortest_s: float | None = None
    mean_s: float | None = None
    longest_s: float | None = None
    open: int = 0
    leading: int = 0


class FrameTimes(BaseModel, frozen=True, extra="forbid"):
    """How long frames are shown: from one to the next. ``constant``: alike, but for the rounding of their times.

    ``irregular``: how many differ from the median by more than that. ``frame_rate``: frames per second, on the whole.
    """

    mode: Literal["constant", "variable"]
    shortest_s: float
    median_s: float
    longest_s: float
    irregular: int
    frame_rate: float


class PicturePackets(StreamPackets):
    """``reordered``: frames are decoded in another order than they are shown, ``reorder_frames`` places off at most.

    ``hidden``: frames that an edit list leaves out. ``undated``: frames without a time.
    """

    curve: BitRateCurve | None = None
    groups: Groups | None = None
    times: FrameTimes | None = None
    reordered: bool = False
    reorder_frames: int = 0
    hidden: int = 0
    undated: int = 0


class PacketFindings(BaseModel, frozen=True, extra="forbid"):
    """What all packets show, without decoding any. ``end_s`` is the last end of sound and pictures."""

    video: tuple[PicturePackets, ...]
    audio: tuple[StreamPackets, ...]
    other: tuple[StreamPackets, ...]
    end_s: float | None
    warnings: tuple[str, ...]
    elapsed_s: float


class FieldCounts(BaseModel, frozen=True, extra="forbid"):
    """Pictures by how their lines fit, as libavfilter's ``idet`` sees them.

    ``marked``: those that say of themselves that they are interlaced. ``repeated``: those that have a field of the
    picture before.
    """

    progressive: int = 0
    top_first: int = 0
    bottom_first: int = 0
    undecided: int = 0
    repeated: int = 0
    marked: int = 0


class PictureBox(Crop):
    """The part of the picture that isn't black bars.

    ``crop`` is the same as ``transcode`` takes it, ``bars`` whether anything is left out.
    """

    crop: str
    bars: bool


class HdrFindings(BaseModel, frozen=True, extra="forbid"):
    """What frames say of their dynamic range. ``kind`` is what headers and frames tell together.

    ``hdr10_plus_frames`` and ``dolby_vision_frames``: how many of those looked at have such metadata of their own.
    """

    kind: HdrKind | Literal["hdr10_plus"]
    color_transfer: str | None
    color_primaries: str | None
    hdr10_plus_frames: int
    dolby_vision_frames: int
    mastering_display: MasteringDisplay | None = None
    content_light: ContentLight | None = None


class PictureFindings(BaseModel, frozen=True, extra="forbid"):
    """What samples of the picture show. ``pictures`` were looked at, in runs that begin at ``sampled_at_s``.

    ``scan`` is ``None`` where nothing moves enough to tell, ``box`` where the picture's edges aren't the same over the
    film, or are too dark to tell.
    """

    index: int
    pictures: int
    sampled_at_s: tuple[float, ...]
    whole: bool
    scan: Scan | None
    fields: FieldCounts
    box: PictureBox | None
    hdr: HdrFindings | None
    closed_captions: bool
    film_grain: bool
    warnings: tuple[str, ...]
    elapsed_s: float


class Silence(BaseModel, frozen=True, extra="forbid"):
    start_s: float
    end_s: float


class SoundFindings(BaseModel, frozen=True, extra="forbid"):
    """What a whole sound track sounds like, by EBU R 128 (https://tech.ebu.ch/docs/tech/tech3341.pdf).

    ``integrated_lufs`` and ``true_peak_dbtp`` are ``None`` of silence; ``range_lu`` is the loudness range, which says
    little of less than a minute. A silence is below ``silence_dbfs`` in all channels for ``silence_s`` at least; the
    first thousand are listed, ``silent_s`` has all.
    """

    index: int
    duration_s: float
    integrated_lufs: float | None
    range_lu: float | None
    true_peak_dbtp: float | None
    silence_dbfs: float
    silence_s: float
    silences: tuple[Silence, ...]
    silent_s: float
    decode_errors: int
    damaged_at_s: tuple[float, ...]


class AllSoundFindings(BaseModel, frozen=True, extra="forbid"):
    tracks: tuple[SoundFindings, ...]
    warnings: tuple[str, ...]
    elapsed_s: float


class ProbeResult(MediaInfo):
    """A file's headers, and what was asked for beyond them: packets, samples of the picture, the whole sound."""

    packets: PacketFindings | None = None
    picture: PictureFindings | None = None
    sound: AllSoundFindings | None = None
