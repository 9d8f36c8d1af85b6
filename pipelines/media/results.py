"""What came of a transcode: of each of its pieces and of the whole, and what proves it."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from pipelines.media.plan import StreamDecision

TOLERANCE_S = 0.1  # an audio frame of 1024 samples at 11025 Hz, and the millisecond clock of Matroska


class ExpectedStream(BaseModel, frozen=True, extra="forbid"):
    """What one stream of the output must hold. ``frames`` is ``None`` where it isn't known (copies, sound)."""

    index: int
    kind: Literal["video", "audio"]
    copied: bool
    packets: int
    frames: int | None
    end_s: float
    tolerance_s: float = TOLERANCE_S


class Expected(BaseModel, frozen=True, extra="forbid"):
    streams: tuple[ExpectedStream, ...]


class ChunkResult(BaseModel, frozen=True, extra="forbid"):
    """A chunk that was encoded, and decoded again to prove it.

    ``first_pts``, ``last_pts`` and ``last_duration`` count in the encoder's time base; ``source_*`` in the source's:
    the first frame taken, and the first one seen behind the chunk. ``reorder`` is how many frames the encoder holds
    back at most. ``sha256`` is that of the file. ``psnr_db``: luma of the first and the last frame against what was
    encoded. ``damaged_at_s``: where in the source the first decode errors are. Of a chunk in which nothing decodes,
    what its frames would tell is ``None``.
    """

    number: int
    frames: int
    source_frames: int
    planned_frames: int
    source_first_pts: int | None
    source_beyond_pts: int | None
    first_pts: int | None
    last_pts: int | None
    last_duration: int | None
    reorder: int
    extradata: str
    size_bytes: int
    sha256: str
    decode_errors: int
    damaged_at_s: tuple[float, ...] = ()
    first_psnr_db: float | None
    last_psnr_db: float | None
    transcode_s: float
    verify_s: float


class Loudness(BaseModel, frozen=True, extra="forbid"):
    """How a sound track was brought to a loudness (see ``loudness``).

    ``measured_lufs`` and ``true_peak_dbtp`` are those before the gain, ``None`` for silence and for less than 0.4 s of
    sound, which get none. ``limited``: its peaks left no room for the whole gain.
    """

    source_index: int
    target_lufs: float
    measured_lufs: float | None = None
    true_peak_dbtp: float | None = None
    gain_db: float = 0.0
    limited: bool = False

    @property
    def warnings(self) -> tuple[str, ...]:
        if not self.limited or self.measured_lufs is None:
            return ()
        reached = self.measured_lufs + self.gain_db
        return (
            f"The sound of stream {self.source_index} comes to about {reached:.1f} LUFS, not {self.target_lufs:g}: "
            "its peaks would be above -1 dBTP.",
        )


class SoundResult(BaseModel, frozen=True, extra="forbid"):
    """A sound track that was encoded into a file of its own, and decoded again to prove it."""

    source_index: int
    size_bytes: int
    sha256: str
    packets: int
    end_s: float
    decoded: int
    decode_errors: int
    damaged_at_s: tuple[float, ...] = ()
    transcode_s: float
    verify_s: float
    loudness: Loudness | None = None
    warnings: tuple[str, ...]


class EncodedChunk(BaseModel, frozen=True, extra="forbid"):
    path: Path
    result: ChunkResult


class EncodedSound(BaseModel, frozen=True, extra="forbid"):
    path: Path
    result: SoundResult


class Seams(BaseModel, frozen=True, extra="forbid"):
    """The steps of quality across the borders of chunks: luma PSNR of the frames on both sides.

    ``frames``: the output's frames, counted from 0, that a chunk other than the first begins with.
    """

    frames: tuple[int, ...]
    p95_step_db: float
    worst_step_db: float


class TranscodeResult(BaseModel, frozen=True, extra="forbid"):
    """What was written. ``decode_errors`` counts what the decoders had to conceal or skip, in what was copied as well,
    ``damaged_at_s`` tells where in the source the first ten of it are. Of a film that was made of chunks, copied sound
    isn't decoded: only what had to be left out of it counts.

    ``missing_frames``: of the picture, which damage took; of one that was encoded in one pass nobody counts them.
    ``transcode_s`` and ``verify_s`` add up the time of all units, ``unit_s`` is that of each chunk and sound track.
    ``loudness``: of each sound track, if it was asked for.
    """

    method: Literal["copy", "chunk", "serial"] = "serial"
    reason: str = ""
    streams: tuple[StreamDecision, ...] = ()
    chunks: int = 0
    reused_chunks: int = 0
    seams: Seams | None = None
    name: str
    container: str
    size_bytes: int
    duration_s: float
    width: int | None
    height: int | None
    video_codec: str | None
    audio_codecs: tuple[str, ...]
    video_frames: int | None
    missing_frames: int = 0
    loudness: tuple[Loudness, ...] = ()
    warnings: tuple[str, ...]
    decode_errors: int
    damaged_at_s: tuple[float, ...] = ()
    transcode_s: float
    verify_s: float | None = None
    unit_s: tuple[float, ...] = ()
    expected: Expected
