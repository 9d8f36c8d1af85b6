"""SSIM by libavfilter: Z. Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity"."""

from dataclasses import dataclass
from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame

from pipelines.media.comparison.compare_spec import Canvas

SMALLEST_FOR_SSIM = 16  # pixels a side: it looks at blocks of eight
_TIME_BASE = Fraction(1, 25)


@dataclass(frozen=True)
class Similarity:
    """``all``: of all planes, weighted by their pixels."""

    y: float
    u: float
    v: float
    all: float


class SsimMeter:
    """Measures frames of one canvas, pair by pair."""

    def __init__(self, canvas: Canvas) -> None:
        self._graph = Graph()
        self._graph.threads = 1
        buffer = f"video_size={canvas.width}x{canvas.height}:pix_fmt={canvas.pixel_format}:time_base={_TIME_BASE}"
        self._inputs = [self._graph.add("buffer", buffer) for _ in range(2)]
        ssim, self._output = self._graph.add("ssim"), self._graph.add("buffersink")
        for number, each in enumerate(self._inputs):
            each.link_to(ssim, 0, number)
        ssim.link_to(self._output)
        self._graph.configure()
        self._count = 0

    def measure(self, reference: VideoFrame, distorted: VideoFrame) -> Similarity:
        for each, frame in zip(self._inputs, (distorted, reference), strict=True):
            frame.pts, frame.time_base = self._count, _TIME_BASE
            each.push(frame)
        self._count += 1
        told = self._output.pull().metadata
        return Similarity(*(float(told[f"lavfi.ssim.{name}"]) for name in ("Y", "U", "V", "All")))
