"""PNG of 16 bits a channel, by libvips: what else reads pictures here has 8."""

from typing import Any

import pyvips

from pipelines.media.errors import EncodeError, SourceUnreadableError
from pipelines.media.images.conversion.convert_spec import ConvertSpec, Effort
from pipelines.media.images.conversion.frames import Frames

_COMPRESSION: dict[Effort, int] = {"fast": 3, "normal": 6, "best": 9}


def is_deep(data: bytes, frames: Frames) -> bool:
    """Whether a still has 16 bits a channel."""
    if frames.timing is not None or frames.info.format not in ("png", "tiff"):
        return False
    try:
        return bool(_loaded(data, frames).format == "ushort")
    except pyvips.Error:
        return False


def deep_png(data: bytes, frames: Frames, spec: ConvertSpec, name: str) -> bytes:
    """The picture with all its bits, upright, in sRGB.

    Raises:
        SourceUnreadableError: its pixels don't decode.
        EncodeError: it can't be written.
    """
    try:
        image = _loaded(data, frames)
        if frames.info.profile not in (None, "unreadable"):
            image = image.icc_transform(
                "srgb", embedded=True, intent="perceptual", black_point_compensation=True, depth=16
            )
        image = image.autorot()
        if spec.background is not None and image.hasalpha():
            levels = [int(spec.background[at : at + 2], 16) * 257 for at in (1, 3, 5)]
            image = image.colourspace("rgb16").flatten(background=levels, max_alpha=65535)
        image = image.copy_memory()
    except pyvips.Error as error:
        raise SourceUnreadableError(f"{name} is damaged: {error.message.strip()}.") from error
    try:
        scaled = _scaled(image, frames.size)
        made: bytes = scaled.pngsave_buffer(bitdepth=16, compression=_COMPRESSION[spec.effort], keep="none")
    except pyvips.Error as error:
        raise EncodeError(f"A picture can't be written as png: {error.message.strip()}.") from error
    return made


def _loaded(data: bytes, frames: Frames) -> Any:
    options: dict[str, Any] = {"fail_on": "error"}
    if frames.info.format == "tiff":
        return pyvips.Image.tiffload_buffer(data, page=frames.first, **options)
    return pyvips.Image.pngload_buffer(data, **options)


def _scaled(image: Any, size: tuple[int, int]) -> Any:
    """With alpha, hidden colours don't show at edges."""
    if (image.width, image.height) == size:
        return image
    across, down = size[0] / image.width, size[1] / image.height
    if not image.hasalpha():
        return image.resize(across, vscale=down, kernel="lanczos3").cast("ushort")
    mixed = image.premultiply(max_alpha=65535).resize(across, vscale=down, kernel="lanczos3")
    return mixed.unpremultiply(max_alpha=65535).cast("ushort").copy(interpretation=image.interpretation)
