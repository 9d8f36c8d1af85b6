"""What to compare and what came of it: the values that travel; the other modules do the work.

``reference`` is the film as it should be, ``distorted`` the one that is judged. Times count from each file's start, and
``offset_s`` is how much later the distorted one shows the same picture.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from pipelines.media.info import VideoInfo
from pipelines.media.units import Seconds

Verdict = Literal["same", "doubtful", "different"]
Model = Literal["vmaf_v0.6.1", "vmaf_v0.6.1neg", "vmaf_4k_v0.6.1"]
SAME_FIT, DIFFERENT_FIT = 0.8, 0.5  # how alike films are, at least, that are the same; at most, that aren't
Metric = Literal["vmaf", "ssim", "psnr", "xpsnr"]


class CompareSpec(BaseModel, frozen=True, extra="forbid"):
    """How to compare."""

    metrics: tuple[Metric, ...] = Field(
        ("vmaf", "ssim", "psnr", "xpsnr"), min_length=1, description="What is measured; fewer take less time."
    )
    offset: Seconds | None = Field(
        None, description="How much later the distorted file shows the same picture; default: it is searched for."
    )
    max_offset: Seconds = Field(30.0, ge=0, le=600, description="How far an offset is searched for, in seconds.")
    moments: int = Field(5, ge=0, le=50, description="How many of the worst moments are kept as stills.")
    format: Literal["jpeg", "png"] = Field("jpeg", description="Of the stills.")
    piece_s: Seconds | None = Field(
        None, gt=0, description="Length of the pieces that are measured side by side; default: by the work they are."
    )
    model: Model = Field("vmaf_v0.6.1", description="VMAF's model: as seen on a TV, without gain, or in 4K.")


class Place(BaseModel, frozen=True, extra="forbid"):
    """A place in the reference that was looked for in the distorted film.

    ``fit`` tells how alike the pictures are at the film's offset, from 0 to 1; ``offset_s`` is where they fit best.
    """

    time_s: float
    fit: float
    offset_s: float


class Alignment(BaseModel, frozen=True, extra="forbid"):
    """How the films lie to each other.

    ``fit``: how alike the pictures are there, from 0 to 1. ``sharpness``: how much worse they fit a frame beside; 0
    where nothing moves. ``confidence`` has both. ``found``: by what the files' times say, by a search, or it was given.
    """

    verdict: Verdict
    offset_s: float
    confidence: float
    fit: float
    sharpness: float
    found: Literal["times", "search", "given"]
    places: tuple[Place, ...] = ()


class Canvas(BaseModel, frozen=True, extra="forbid"):
    """The form in which both are measured: the reference's own, upright, at the deeper of both bit depths."""

    width: int
    height: int
    pixel_format: str
    depth: Literal[8, 10, 12]
    full_range: bool
    matrix: str | None


class Span(BaseModel, frozen=True, extra="forbid"):
    """Frames of one film: from ``begin_pts`` up to and with ``last_pts``; ``None`` is its beginning, or its end.

    ``key_pts``: the keyframe from which they are decoded, if it's known.
    """

    begin_pts: int | None = None
    last_pts: int | None = None
    key_pts: int | None = None


class Piece(BaseModel, frozen=True, extra="forbid"):
    """A part that is measured by itself. What isn't within ``kept`` of the reference is warm-up.

    ``pairs``: how many are expected; ``None`` where that isn't known.
    """

    number: int
    reference: Span
    distorted: Span
    kept: Span
    pairs: int | None
    cost_s: float


class ComparisonPlan(BaseModel, frozen=True, extra="forbid"):
    """``pieces`` is empty where the films differ. Frames are counted by the packets; ``None``: not before decoding.

    ``tolerance_s``: how far apart the times of a pair may be.
    """

    reference: VideoInfo
    distorted: VideoInfo
    alignment: Alignment
    canvas: Canvas
    tolerance_s: float
    frame_rate: float
    metrics: tuple[Metric, ...]
    model: Model
    reference_frames: int | None
    distorted_frames: int | None
    pieces: tuple[Piece, ...]
    memory_bytes: int
    warnings: tuple[str, ...] = ()


class PieceScores(BaseModel, frozen=True, extra="forbid"):
    """What was measured of a piece; its scores lie in ``SCORES_FILE``. Frames are those that decoded."""

    number: int
    pairs: int
    reference_frames: int
    distorted_frames: int


class ScoredPiece(BaseModel, frozen=True, extra="forbid"):
    """A piece that was measured: where its table lies, and how many ``pairs`` were expected."""

    table: Path
    pairs: int | None
    scores: PieceScores


SCORES_FILE, FRAMES_FILE = "scores.npy", "frames.csv"
SMALLEST_FOR_VMAF = 32  # pixels a side: libvmaf halves pictures four times, and crashes at 16


class FrameCounts(BaseModel, frozen=True, extra="forbid"):
    """``alone``: frames without a partner in the other film, or that don't decode. ``identical``: of those compared."""

    reference: int
    distorted: int
    compared: int
    reference_alone: int
    distorted_alone: int
    identical: int


class VmafScores(BaseModel, frozen=True, extra="forbid"):
    """From 0 to 100. Pooled over all pairs, as libvmaf does it; ``p1``: one of a hundred frames is worse."""

    mean: float
    harmonic_mean: float
    min: float
    p1: float
    p5: float
    max: float


class SsimScores(BaseModel, frozen=True, extra="forbid"):
    """From 0 to 1: the mean of all planes, weighted by their pixels, and that of each; the worst frame."""

    all: float
    y: float
    u: float
    v: float
    min: float
    p5: float


class PsnrScores(BaseModel, frozen=True, extra="forbid"):
    """In dB, by the mean squared error of all frames, as ffmpeg pools it. ``None``: there is no error."""

    average_db: float | None
    y_db: float | None
    u_db: float | None
    v_db: float | None
    min_db: float | None


class XpsnrScores(BaseModel, frozen=True, extra="forbid"):
    """In dB, by the mean root of the weighted squared errors, as ffmpeg pools it. ``None``: there is no error."""

    y_db: float | None
    u_db: float | None
    v_db: float | None
    min_y_db: float | None


class CurvePoint(BaseModel, frozen=True, extra="forbid"):
    """The means of a stretch of the reference that begins at ``time_s``, and its worst VMAF."""

    time_s: float
    vmaf: float | None
    vmaf_min: float | None
    ssim: float | None
    psnr_y_db: float | None
    xpsnr_y_db: float | None


class Moment(BaseModel, frozen=True, extra="forbid"):
    """One of the worst frames, and the names of its stills; where VMAF wasn't measured, the worst by SSIM or PSNR."""

    time_s: float
    distorted_time_s: float
    vmaf: float | None
    ssim: float | None
    psnr_y_db: float | None
    xpsnr_y_db: float | None
    reference: str | None
    distorted: str | None


class CompareResult(BaseModel, frozen=True, extra="forbid"):
    """Scores are ``None`` that weren't asked for, or where the films differ or pictures are too small for them.

    ``verdict``: whether both show the same film, however much worse one looks.
    """

    verdict: Verdict
    message: str
    alignment: Alignment
    frames: FrameCounts | None
    model: Model
    width: int
    height: int
    pixel_format: str
    vmaf: VmafScores | None = None
    ssim: SsimScores | None = None
    psnr: PsnrScores | None = None
    xpsnr: XpsnrScores | None = None
    curve: tuple[CurvePoint, ...] = ()
    worst: tuple[Moment, ...] = ()
    warnings: tuple[str, ...] = ()
