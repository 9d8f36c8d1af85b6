"""Filter graphs for pictures: what lies between a decoded frame and the encoder or a still.

Each function returns steps ``(filter, arguments)`` in libavfilter's own spelling; ``PictureFilter`` runs them.
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import av
from av.filter import Graph
from av.video.frame import VideoFrame

from pipelines.media.plan import Crop, VideoEncode
from pipelines.media.side_data import Orientation

Step = tuple[str, str]

# libswscale maps HDR to BT.709 through a table that it builds once per graph (measured: 2.8 s, then 26 ms a frame of
# 1080p). Looked at side by side, it keeps highlights and hue; the tonemap filter turns whites to grey.
TONEMAP: tuple[Step, ...] = (
    (
        "scale",
        "out_primaries=bt709:out_transfer=bt709:out_color_matrix=bt709:out_range=tv:intent=perceptual",
    ),
)
WARM_UP = 2
_SCALER = "flags=bicubic+accurate_rnd+full_chroma_int"


def orient(orientation: Orientation) -> tuple[Step, ...]:
    """Turn and mirror the picture as a player would show it."""
    steps: dict[tuple[int, bool], tuple[Step, ...]] = {
        (0, False): (),
        (90, False): (("transpose", "clock"),),
        (180, False): (("hflip", ""), ("vflip", "")),
        (270, False): (("transpose", "cclock"),),
        (0, True): (("hflip", ""),),
        (90, True): (("transpose", "clock_flip"),),
        (180, True): (("vflip", ""),),
        (270, True): (("transpose", "cclock_flip"),),
    }
    return steps[orientation.rotation_deg, orientation.mirrored]


def temporal_steps(encode: VideoEncode) -> tuple[Step, ...]:
    """The steps that look at neighbouring frames.

    Deinterlacing takes ``WARM_UP`` on each side and keeps every frame and its time; undoing telecine leaves out one of
    five, and looks farther.
    """
    if encode.telecine_rate is not None:
        return (("fieldmatch", ""), ("bwdif", "mode=send_frame:deint=interlaced"), ("decimate", ""))
    if encode.deinterlace is None:
        return ()
    return (("bwdif", f"mode=send_frame:deint={'all' if encode.deinterlace == 'all' else 'interlaced'}"),)


def spatial_steps(frame: VideoFrame, encode: VideoEncode) -> tuple[Step, ...]:
    """The steps that ``frame`` needs, by itself, to become what ``encode`` wants; none if it already is."""
    size = (frame.width, frame.height)
    steps: list[Step] = []
    if encode.crop is not None:
        width, height, left, top = _coded_rectangle(
            encode.crop, Orientation(encode.rotation_deg, encode.mirrored), size
        )
        size = (width, height)
        steps.append(("crop", f"{width}:{height}:{left}:{top}"))
    steps += _scaling_steps(frame, size, encode)
    steps += orient(Orientation(encode.rotation_deg, encode.mirrored))
    if steps:
        steps += [("setsar", "1"), ("format", encode.pixel_format)]
    return tuple(steps)


def _coded_rectangle(crop: Crop, orientation: Orientation, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Width, height, left and top of ``crop`` in a decoded picture of ``size``, in even numbers.

    It's cropped before it is scaled and turned, which then have less to do. Worked out from shares of the sides, since
    decoded pixels needn't be square.
    """
    left, right = Fraction(crop.left, crop.of_width), Fraction(crop.left + crop.width, crop.of_width)
    top, bottom = Fraction(crop.top, crop.of_height), Fraction(crop.top + crop.height, crop.of_height)
    if orientation.rotation_deg == 90:
        left, top, right, bottom = top, 1 - right, bottom, 1 - left
    elif orientation.rotation_deg == 180:
        left, top, right, bottom = 1 - right, 1 - bottom, 1 - left, 1 - top
    elif orientation.rotation_deg == 270:
        left, top, right, bottom = 1 - bottom, left, 1 - top, right
    if orientation.mirrored:
        left, right = 1 - right, 1 - left
    width, height = (
        max(2, _even(share * side)) for share, side in zip((right - left, bottom - top), size, strict=True)
    )
    return width, height, min(_even(left * size[0]), size[0] - width), min(_even(top * size[1]), size[1] - height)


def _even(length: Fraction) -> int:
    return int(length + Fraction(1, 2)) // 2 * 2


def _scaling_steps(frame: VideoFrame, size: tuple[int, int], encode: VideoEncode) -> list[Step]:
    turned = encode.rotation_deg % 180 != 0
    width, height = (encode.height, encode.width) if turned else (encode.width, encode.height)
    resize = size != (width, height)
    if encode.tonemap:
        shrink: list[Step] = [("scale", f"{width}:{height}:{_SCALER}"), ("format", "yuv420p10le")] if resize else []
        return [*shrink, *TONEMAP]
    if not resize and frame.format.name == encode.pixel_format:
        return []
    colours = f":out_range={encode.color_range}" if encode.color_range else ""
    if frame.format.is_rgb and encode.color_space:
        colours += f":out_color_matrix={encode.color_space}"
    return [("scale", f"{width}:{height}:{_SCALER}{colours}"), ("format", encode.pixel_format)]


class PictureFilter:
    """A chain of filters for frames of any shape: its graph is built anew when that changes.

    ``steps_for`` gives the steps that a frame of this shape needs; without any, frames pass as they are. ``threads`` 0
    takes one for each CPU; ``rate`` is for filters that need to know it.
    """

    def __init__(
        self, steps_for: Callable[[VideoFrame], Sequence[Step]], threads: int = 0, rate: Fraction | None = None
    ) -> None:
        self._steps_for = steps_for
        self._threads = threads
        self._rate = rate
        self._graph: Graph | None = None
        self._shape: Shape | None = None

    def run(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        """What comes out after ``frame``, which has a time base, has gone in."""
        if self._shape != shape_of(frame):
            yield from self.drain()
            self._graph, self._shape = self._built(frame), shape_of(frame)
        if self._graph is None:
            yield frame
        else:
            yield from _through(self._graph, frame)

    def drain(self) -> Iterator[VideoFrame]:
        """What is still inside."""
        graph, self._graph, self._shape = self._graph, None, None
        if graph is not None:
            yield from _through(graph, None)

    def _built(self, frame: VideoFrame) -> Graph | None:
        steps = self._steps_for(frame)
        if not steps:
            return None
        graph = Graph()
        graph.threads = self._threads
        rate = f":frame_rate={self._rate}" if self._rate else ""
        source = graph.add("buffer", _buffer_arguments(frame) + rate)
        nodes = [graph.add(name, arguments or None) for name, arguments in steps]
        graph.link_nodes(source, *nodes, graph.add("buffersink")).configure()
        return graph


Shape = tuple[int, int, str, int, int]


def shape_of(frame: VideoFrame) -> Shape:
    """What a graph is built for: a frame of another shape needs another graph."""
    return frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range


def _through(graph: Graph, frame: VideoFrame | None) -> Iterator[VideoFrame]:
    """Push ``frame`` (``None`` ends the stream) and yield what comes out."""
    graph.vpush(frame)
    while True:
        try:
            yield graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _buffer_arguments(frame: VideoFrame) -> str:
    return (
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base={frame.time_base}"
        f":pixel_aspect=1/1:colorspace={frame.colorspace}:range={frame.color_range}"
    )
