"""Bounds on what is decoded, so that one file can't take a machine's memory."""

from pipelines.media.errors import LimitError, SourceUnreadableError
from pipelines.media.info import VideoInfo

MAX_PIXELS = 8192 * 8192  # twice 8K UHD; a decoder keeps some twenty pictures of 1.5 to 3 bytes a pixel


def check_picture(video: VideoInfo) -> None:
    """Refuse pictures that need too much memory, and those that have no size: not one was found that decodes.

    Raises:
        LimitError: there are more than 67 megapixels.
        SourceUnreadableError: nothing tells how large they are.
    """
    if not video.width or not video.height:
        raise SourceUnreadableError("Nothing tells the size of its pictures: they are scrambled, damaged or missing.")
    if video.width * video.height > MAX_PIXELS:
        raise LimitError(
            f"Pictures of {video.width}x{video.height} pixels are too large (limit {MAX_PIXELS}); scale them down.",
            width=video.width,
            height=video.height,
        )
