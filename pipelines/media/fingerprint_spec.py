"""What a film looks like in few words: the values that travel; ``fingerprint`` does the work."""

from pydantic import BaseModel

FRAMES = 8


class Fingerprint(BaseModel, frozen=True, extra="forbid"):
    """``hashes`` are pHashes, 64 bits as 16 hex digits, of frames at the centres of equal parts of the film.

    One that shows nothing (black, flat) tells nothing: ``None``. Width and height are as shown.
    """

    duration_s: float | None
    width: int
    height: int
    bit_rate_bps: int | None
    hashes: tuple[str | None, ...]
