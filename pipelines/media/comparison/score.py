"""Measure a piece: both films decoded, paired, brought onto the canvas, and held against each other frame by frame."""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from av.video.frame import VideoFrame

from pipelines.media.comparison.canvas import onto
from pipelines.media.comparison.compare_spec import (
    SCORES_FILE,
    SMALLEST_FOR_VMAF,
    Canvas,
    ComparisonPlan,
    Metric,
    Piece,
    PieceScores,
    Span,
)
from pipelines.media.comparison.film import Film, open_film, shown_pts
from pipelines.media.comparison.pairing import pair_up
from pipelines.media.comparison.ssim import SMALLEST_FOR_SSIM, SsimMeter
from pipelines.media.comparison.table import write_table
from pipelines.media.comparison.vmaf import VmafProgram
from pipelines.media.comparison.xpsnr import ErrorMeter, Plane
from pipelines.media.progress import OnProgress, ProgressMeter
from pipelines.media.source import Source

_LIKENESS_PIXELS = 24  # a side, about, of the pixels whose correlation is taken
_FLAT = 2.0  # levels of 256 by which a picture without detail varies
_NOT_MEASURED = math.nan


def score_piece(
    source: Source, reference: Source, folder: Path, plan: ComparisonPlan, piece: Piece, on_progress: OnProgress
) -> PieceScores:
    """Measure ``piece``: this process decodes while the ffmpeg program scores. Leaves the table in ``folder``.

    Raises:
        SourceUnreadableError: nothing decodes.
        EncodeError: see ``VmafProgram``.
    """
    with ExitStack() as stack:
        reference_film = stack.enter_context(open_film(reference, plan.reference, 1, [piece.reference.key_pts]))
        distorted_film = stack.enter_context(open_film(source, plan.distorted, 1, [piece.distorted.key_pts]))
        references = _Timed(reference_film, piece.reference, 0.0)
        distorteds = _Timed(distorted_film, piece.distorted, plan.alignment.offset_s)
        scores_vmaf = _takes("vmaf", plan, SMALLEST_FOR_VMAF)
        program = stack.enter_context(VmafProgram(plan.canvas, plan.model)) if scores_vmaf else None
        meter = ProgressMeter(on_progress, _length_s(reference_film, piece))
        begin_pts = piece.reference.begin_pts
        begin_s = 0.0 if begin_pts is None else reference_film.time_s(begin_pts)
        scorer = _Scorer(plan, reference_film, distorted_film, program)
        for pair in pair_up(references, distorteds, plan.tolerance_s):
            scorer.take(*pair)
            meter.update(scorer.rows[-1].reference_s - begin_s, len(scorer.rows))
        rows = scorer.finish()
        references.count_rest()
        distorteds.count_rest()
    kept = [row for row in rows if _holds(piece.kept, row[0])]
    write_table(folder / SCORES_FILE, kept)
    return PieceScores(
        number=piece.number, pairs=len(kept), reference_frames=references.count, distorted_frames=distorteds.count
    )


class _Timed:
    """The frames of a span, each with its time on the reference's clock; counts them."""

    def __init__(self, film: Film, span: Span, offset_s: float) -> None:
        self.count = 0
        self._film = film
        self._frames = film.frames(span)
        self._offset_s = offset_s
        self._last: int | None = None

    def __iter__(self) -> Iterator[tuple[float, VideoFrame]]:
        return self

    def __next__(self) -> tuple[float, VideoFrame]:
        frame = next(self._frames)
        if self._last is not None and shown_pts(frame) <= self._last:
            frame.pts = self._last + 1  # repeated times, of old AVI: its frames are a tick apart
        self._last = shown_pts(frame)
        self.count += 1
        return self._film.time_s(self._last) - self._offset_s, frame

    def count_rest(self) -> None:
        """Those beyond the last pair."""
        self.count += sum(1 for _ in self._frames)


@dataclass(frozen=True)
class _Row:
    """What is known of a pair before the program has told its score and the next pair has come."""

    reference_pts: int
    distorted_pts: int
    reference_s: float
    distorted_s: float
    ssim: tuple[float, float, float, float]
    mse: tuple[float, ...]
    root: tuple[float, ...]
    before_mse: float
    likeness: float


class _Scorer:
    def __init__(self, plan: ComparisonPlan, reference: Film, distorted: Film, program: VmafProgram | None) -> None:
        canvas = plan.canvas
        self.rows: list[_Row] = []
        self._after_mse: list[float] = []
        self._films = (reference, distorted)
        self._onto = (
            onto(canvas, plan.reference, reference.time_base),
            onto(canvas, plan.distorted, distorted.time_base),
        )
        self._program = program
        self._errors = ErrorMeter(
            canvas.width, canvas.height, canvas.depth, plan.frame_rate, weighted="xpsnr" in plan.metrics
        )
        self._ssim = SsimMeter(canvas) if _takes("ssim", plan, SMALLEST_FOR_SSIM) else None
        self._canvas = canvas
        self._before: tuple[Plane, Plane] | None = None  # the luma of the last pair

    def take(self, reference: VideoFrame, distorted: VideoFrame) -> None:
        reference_pts, distorted_pts = shown_pts(reference), shown_pts(distorted)
        reference, distorted = (place(frame) for place, frame in zip(self._onto, (reference, distorted), strict=True))
        originals, codeds = planes_of(reference), planes_of(distorted)
        if self._program is not None:
            self._program.feed(originals[0], codeds[0])
        errors = self._errors.measure(originals, codeds)
        similar = self._ssim.measure(reference, distorted) if self._ssim else None
        before_mse = math.inf
        if self._before is not None:
            before_mse = _mse(self._before[0], codeds[0])
            self._after_mse.append(_mse(originals[0], self._before[1]))
        self._before = (originals[0], codeds[0])
        self.rows.append(
            _Row(
                reference_pts=reference_pts,
                distorted_pts=distorted_pts,
                reference_s=self._films[0].time_s(reference_pts),
                distorted_s=self._films[1].time_s(distorted_pts),
                ssim=(similar.y, similar.u, similar.v, similar.all) if similar else (_NOT_MEASURED,) * 4,
                mse=tuple(error / plane.size for error, plane in zip(errors.squared, originals, strict=True)),
                root=tuple(map(math.sqrt, errors.weighted)) or (_NOT_MEASURED,) * 3,
                before_mse=before_mse,
                likeness=_likeness(originals[0], codeds[0], self._canvas),
            )
        )

    def finish(self) -> list[tuple[float, ...]]:
        """Rows with the columns of ``Table``."""
        scores = self._program.finish() if self._program else [_NOT_MEASURED] * len(self.rows)
        after_mse = [*self._after_mse, math.inf]
        return [
            (
                *(row.reference_pts, row.distorted_pts, row.reference_s, row.distorted_s, vmaf),
                *(*row.ssim, *row.mse, *row.root, min(row.before_mse, after), row.likeness),
            )
            for row, vmaf, after in zip(self.rows, scores, after_mse, strict=False)
        ]


def _takes(metric: Metric, plan: ComparisonPlan, smallest: int) -> bool:
    return metric in plan.metrics and min(plan.canvas.width, plan.canvas.height) >= smallest


def planes_of(frame: VideoFrame) -> list[Plane]:
    """The planes of a frame as arrays, without copying: they hold it as long as they are held."""
    sample = np.dtype(np.uint8 if frame.format.components[0].bits == 8 else np.uint16)
    planes = []
    for plane in frame.planes:
        lines = np.frombuffer(memoryview(plane), sample).reshape(plane.height, plane.line_size // sample.itemsize)
        planes.append(lines[:, : plane.width])
    return planes


def _mse(original: Plane, coded: Plane) -> float:
    """Of every other line: it's to tell neighbours apart."""
    lines = original[::2]
    return float(cv2.norm(lines, coded[::2], cv2.NORM_L2SQR)) / lines.size


def _likeness(original: Plane, coded: Plane, canvas: Canvas) -> float:
    """The correlation of some of the pixels: 1 is the same picture, 0 another."""
    step = max(1, min(original.shape) // _LIKENESS_PIXELS)
    one, other = (plane[::step, ::step].astype(np.float32).ravel() for plane in (original, coded))
    one -= one.mean()
    other -= other.mean()
    squares = float(one @ one), float(other @ other)
    if max(squares) < len(one) * (_FLAT * 2 ** (canvas.depth - 8)) ** 2:
        return 1.0
    return float(one @ other) / math.sqrt(squares[0] * squares[1]) if min(squares) > 0 else 0.0


def _holds(span: Span, pts: float) -> bool:
    after = span.begin_pts is None or span.begin_pts <= pts
    return after and (span.last_pts is None or pts <= span.last_pts)


def _length_s(reference: Film, piece: Piece) -> float | None:
    span = piece.reference
    if span.begin_pts is None or span.last_pts is None:
        return reference.video.duration_s
    return reference.time_s(span.last_pts) - reference.time_s(span.begin_pts)
