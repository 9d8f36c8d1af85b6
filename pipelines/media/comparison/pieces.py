"""Cut a comparison into pieces that are measured side by side, and tell what each takes."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from pipelines.media.comparison.alignment import Timeline
from pipelines.media.comparison.compare_spec import Canvas, CompareSpec, Piece, Span
from pipelines.media.comparison.film import Film
from pipelines.media.comparison.xpsnr import frames_back
from pipelines.media.info import VideoInfo
from pipelines.media.packet_index import PacketIndex

_PIECE_COST_S = 20.0  # what comes with a piece beside its frames takes a quarter of a second
_FEWEST_S = 2.0
_TRAIL_PAIRS = 1  # VMAF looks one frame ahead, and one back
_NEAR = 0.15  # of a piece: its border moves so far to a keyframe of the reference
# Of one CPU of the project's machine, by the depth.
_VMAF_MEGAPIXELS_PER_S = {8: 51.0, 10: 30.0, 12: 30.0}
_OTHERS_MEGAPIXELS_PER_S = {8: 130.0, 10: 60.0, 12: 60.0}
_DECODED_MEGAPIXELS_PER_S = 400.0
# Of both processes; measured 300 MiB at 720p, 415 at 1080p, 945 at 2160p, and there 1350 at 10 bits.
_PROCESSES_BYTES = 260 << 20  # with what they load
_CANVAS_BYTES_PER_PIXEL = 100  # at 8 bits: libvmaf's pictures, and those on the way
_DECODER_BYTES_PER_PIXEL = 25

Pair = tuple[int, int]  # the numbers of a frame of the reference and one of the distorted film


class Cutter:
    def __init__(
        self,
        films: tuple[Film, Film],
        indices: Sequence[PacketIndex],
        timelines: tuple[Timeline, Timeline],
        canvas: Canvas,
        spec: CompareSpec,
        slots: int,
    ) -> None:
        self._films, self._indices, self._timelines = films, indices, timelines
        self._pair_cost_s = _cost_s(canvas, films[1].video, spec)
        self._slots = slots
        self._piece_s = spec.piece_s

    def whole(self) -> Piece:
        """One piece, from the beginnings on: what lies where isn't known before it's decoded."""
        frames = max(len(timeline.times_s) for timeline in self._timelines)
        if frames == 1:
            video = self._films[0].video
            frames = video.frames or round((video.duration_s or 60.0) / self._timelines[0].step_s)
        cost_s = round(max(_FEWEST_S, frames * self._pair_cost_s), 2)
        return Piece(number=0, reference=Span(), distorted=Span(), kept=Span(), pairs=None, cost_s=cost_s)

    def cut(self, pairs: Sequence[Pair]) -> tuple[Piece, ...]:
        """Pieces of about as much work each, as many for each slot; with warm-up, so that none feels its borders."""
        pieces = []
        lead = frames_back(1 / self._timelines[0].step_s)
        for number, (begin, end) in enumerate(pairwise(self._borders(pairs))):
            first, last = max(0, begin - lead), min(len(pairs), end + _TRAIL_PAIRS) - 1
            pieces.append(
                Piece(
                    number=number,
                    reference=self._span(0, pairs[first], pairs[last]),
                    distorted=self._span(1, pairs[first], pairs[last]),
                    kept=self._span(0, pairs[begin], pairs[end - 1]),
                    pairs=end - begin,
                    cost_s=round(max(_FEWEST_S, (end - begin) * self._pair_cost_s), 2),
                )
            )
        return tuple(pieces)

    def _span(self, side: int, first: Pair, last: Pair) -> Span:
        index = self._indices[side]
        begin_pts, last_pts = int(index.times[first[side]]), int(index.times[last[side]])
        return Span(begin_pts=begin_pts, last_pts=last_pts, key_pts=index.keyframe_before(begin_pts))

    def _count(self, pairs: int) -> int:
        """How many pieces to make."""
        if self._piece_s is not None:
            return max(1, min(pairs, round(pairs * self._timelines[0].step_s / self._piece_s)))
        cost_s = pairs * self._pair_cost_s
        if cost_s < _FEWEST_S:
            return 1
        return -(-max(self._slots, round(cost_s / _PIECE_COST_S)) // self._slots) * self._slots

    def _borders(self, pairs: Sequence[Pair]) -> list[int]:
        """Numbers of the pairs that pieces begin with, and how many pairs there are."""
        if not pairs:
            return []
        count = self._count(len(pairs))
        each = len(pairs) / count
        index = self._indices[0]
        at_keys = np.isin(index.times[[number for number, _ in pairs]], index.key_times)
        numbers = np.flatnonzero(at_keys) if at_keys.any() else np.zeros(1, int)
        borders = [0]
        for number in range(1, count):
            wanted = number * each
            nearest = int(numbers[np.abs(numbers - wanted).argmin()])
            border = nearest if abs(nearest - wanted) <= each * _NEAR else round(wanted)
            if border > borders[-1]:
                borders.append(border)
        return [*borders, len(pairs)]


def _cost_s(canvas: Canvas, distorted: VideoInfo, spec: CompareSpec) -> float:
    """Seconds that a pair takes on one CPU."""
    shown = canvas.width * canvas.height / 1e6
    scaled = distorted.width * distorted.height / 1e6
    vmaf_s = shown / _VMAF_MEGAPIXELS_PER_S[canvas.depth] if "vmaf" in spec.metrics else 0.0
    others_s = shown / _OTHERS_MEGAPIXELS_PER_S[canvas.depth]
    return vmaf_s + others_s + abs(scaled - shown) / _DECODED_MEGAPIXELS_PER_S


def memory_bytes(canvas: Canvas, videos: tuple[VideoInfo, VideoInfo]) -> int:
    """What a piece takes in both processes, at most."""
    deep = 1 if canvas.depth == 8 else 2
    decoders = sum(video.width * video.height * (2 if (video.bit_depth or 8) > 8 else 1) for video in videos)
    shown = canvas.width * canvas.height * deep
    return _PROCESSES_BYTES + shown * _CANVAS_BYTES_PER_PIXEL + decoders * _DECODER_BYTES_PER_PIXEL
