"""Bring frames of both films into the one form in which they are measured.

The reference is only turned upright, never scaled: that would change what is measured. The distorted film is scaled
(bicubic, as VMAF's model was trained) so that it covers the reference's pixels, whatever the shape of its own.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Literal

from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from pipelines.media import colour
from pipelines.media.comparison.compare_spec import Canvas
from pipelines.media.info import VideoInfo
from pipelines.media.side_data import Orientation
from pipelines.media.video_filters import PictureFilter, Step, orient

_FULL_RANGE = 2  # libav's number
_HD_HEIGHT = 720
_MATRICES = {"bt709": "bt709", "bt470bg": "bt601", "smpte170m": "bt601", "smpte240m": "smpte240m", "bt2020nc": "bt2020"}
_CHROMA = {(8, 8): "420", (8, 16): "422"}  # of 16x16 pixels; anything else is kept whole


def canvas_of(reference: VideoInfo, distorted: VideoInfo) -> Canvas:
    width, height = reference.width, reference.height
    if reference.rotation_deg % 180:
        width, height = height, width
    bits = max(reference.bit_depth or 8, distorted.bit_depth or 8)
    depth: Literal[8, 10, 12] = 8 if bits <= 8 else 10 if bits <= 10 else 12
    return Canvas(
        width=width,
        height=height,
        pixel_format=f"yuv{_chroma(reference)}p" + ("" if depth == 8 else f"{depth}le"),
        depth=depth,
        full_range=reference.color_range == "pc" or (reference.pixel_format or "").startswith("yuvj"),
        matrix=reference.color_space if reference.color_space in _MATRICES else None,
    )


def _chroma(video: VideoInfo) -> str:
    if video.pixel_format is None:
        return "420"
    pixels = VideoFormat(video.pixel_format, 16, 16)
    if len(pixels.components) < 3 and not pixels.is_rgb:
        return "420"  # grey: there is no format without chroma that all metrics take
    if pixels.is_rgb:
        return "444"
    return _CHROMA.get((pixels.chroma_width(), pixels.chroma_height()), "444")


def onto(canvas: Canvas, video: VideoInfo, time_base: Fraction) -> Callable[[VideoFrame], VideoFrame]:
    """What makes frames of ``video`` such of ``canvas``, each by itself; one that is of it already passes as it is."""
    filters = PictureFilter(lambda frame: _steps(frame, video, canvas), threads=1)

    def place(frame: VideoFrame) -> VideoFrame:
        frame.time_base = time_base
        (placed,) = filters.run(frame)
        return placed

    return place


def _steps(frame: VideoFrame, video: VideoInfo, canvas: Canvas) -> list[Step]:
    turned = video.rotation_deg % 180 != 0
    width, height = (canvas.height, canvas.width) if turned else (canvas.width, canvas.height)
    name = frame.format.name
    full_range = frame.color_range == _FULL_RANGE or name.startswith("yuvj")
    # A matrix is changed only where both are known: most files that name none have the one of their neighbour.
    source = _MATRICES.get(colour.SPACES.get(frame.colorspace, ""))
    target = _MATRICES.get(canvas.matrix or "")
    if frame.format.is_rgb:
        source, target = None, target or ("bt709" if canvas.height >= _HD_HEIGHT else "bt601")
    same_form = name.replace("yuvj", "yuv") == canvas.pixel_format and full_range == canvas.full_range
    same_colour = source is None or target is None or source == target
    steps: list[Step] = []
    if (frame.width, frame.height) != (width, height) or not same_form or not same_colour:
        arguments = (
            f"{width}:{height}:flags=bicubic:in_range={_range(full_range)}:out_range={_range(canvas.full_range)}"
        )
        if not same_colour:
            arguments += f":in_color_matrix={source}"
        if not same_colour or frame.format.is_rgb:
            arguments += f":out_color_matrix={target}"
        steps += [("scale", arguments), ("format", canvas.pixel_format)]
    return [*steps, *orient(Orientation(video.rotation_deg, video.mirrored))]


def _range(full: bool) -> str:
    return "pc" if full else "tv"
