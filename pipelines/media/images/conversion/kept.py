"""What of a source may stay compressed as it is, when it's written in its own format again."""

import mozjpeg_lossless_optimization as mozjpeg
from PIL import Image

from pipelines.media.errors import MediaError
from pipelines.media.images.colour import is_srgb
from pipelines.media.images.conversion.convert_spec import ConvertSpec
from pipelines.media.images.conversion.frames import Frames
from pipelines.media.images.header import profile_of
from pipelines.media.images.info import ImageInfo
from pipelines.media.images.metadata.container import rewritten
from pipelines.media.images.metadata.metadata_spec import MetadataSpec

_BARE = MetadataSpec(strip="all", other_pictures="drop")
_DEEP_PNG = 16


def own_bytes(data: bytes, image: Image.Image, frames: Frames, spec: ConvertSpec, name: str) -> bytes | None:
    """The source with its pixels compressed as they are, and nothing of its metadata.

    None where that isn't what is asked for: it would have to be turned, scaled, brought to sRGB, flattened, or its
    metadata can't be taken away. A JPEG's coefficients are packed anew by MozJPEG, as progressive scans with tables
    of their own: 5 to 15 % smaller, the same pixels.
    """
    info = frames.info
    profile = profile_of(image)
    asked = (
        frames.size == (info.width, info.height)
        and info.orientation == 1
        and info.colour != "cmyk"
        and (profile is None or is_srgb(profile))
        and (spec.frame is None or info.frames == 1)
        and (spec.background is None or not info.alpha)
        and (info.format != "png" or spec.keeps_depth or info.bits < _DEEP_PNG)
    )
    if not asked:
        return None
    if info.format == "jpeg":
        return _jpeg(data, info, spec, name)
    if info.format == "avif" and profile is not None:  # it stands among the picture's properties
        return None
    return _bare(data, info, name)


def _jpeg(data: bytes, info: ImageInfo, spec: ConvertSpec, name: str) -> bytes | None:
    if spec.progressive is not False:
        try:
            made: bytes = mozjpeg.optimize(data)
        except ValueError:  # of a kind that MozJPEG's decoder doesn't read
            pass
        else:
            return made
    return _bare(data, info, name) if spec.progressive in (None, info.progressive) else None


def _bare(data: bytes, info: ImageInfo, name: str) -> bytes | None:
    try:
        return rewritten(data, info, _BARE, name)[0]
    except MediaError:  # its parts can't be told apart: it's written anew
        return None
