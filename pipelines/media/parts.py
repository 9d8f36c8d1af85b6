"""The parts of a source that are decoded apart: the values that travel; ``passes`` decodes one."""

from pydantic import BaseModel


class Part(BaseModel, frozen=True, extra="forbid"):
    """What one pass decodes: some streams whole, or of one of them what is shown from one time up to another.

    Times are in the stream's time base; ``None`` is the stream's own border. Decoding starts at the keyframe that is
    shown at ``key_pts`` and has ``key_bytes``; what is shown from ``begin_pts`` up to, but not at, ``end_pts`` counts.
    ``leading``: packets that are shown before ``end_pts`` follow the one there in order of decoding, and need it: it
    is decoded too. ``packets``: no more than the first so many, where times don't tell. ``pixels`` of a picture;
    ``cost_s`` is the estimated time on one CPU.
    ``begin_s`` and ``end_s`` say the same as ``begin_pts`` and ``end_pts``, in seconds from the container's start.
    """

    streams: tuple[int, ...]
    key_pts: int | None = None
    key_bytes: int | None = None
    begin_pts: int | None = None
    end_pts: int | None = None
    leading: bool = False
    packets: int | None = None
    frames: int = 0
    pixels: int = 0
    cost_s: float = 1.0
    begin_s: float | None = None
    end_s: float | None = None
