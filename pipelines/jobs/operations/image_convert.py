"""``image-convert``: pictures in another format, or smaller in their own."""

from pipelines.jobs.catalogue import CommonParams
from pipelines.jobs.pictures import PictureWork, picture_operation
from pipelines.media.images.conversion.convert_spec import Converted, ConvertSpec, estimate_s, memory_bytes
from pipelines.media.images.info import EXTENSIONS


class Params(ConvertSpec, CommonParams):
    """Which format, and how good or how small."""


OPERATION = picture_operation(
    name="image-convert",
    summary="Write pictures in another format, or smaller in their own: by quality, by target quality or by size.",
    params=Params,
    work=PictureWork(
        function="pipelines.media.images.conversion.convert:convert",
        spec=ConvertSpec,
        result=Converted,
        estimate_s=estimate_s,
        memory_bytes=memory_bytes,
        endings=lambda spec: () if spec.format == "auto" else (f".{EXTENSIONS[spec.format]}",),
        untold=frozenset({"candidates"}),
    ),
    examples=(
        {"sources": ["/photos/example.jpg"], "params": {"format": "auto", "target_quality": 85}},
        {"sources": ["/photos"], "params": {"format": "webp", "output": "/photos/web"}},
    ),
)
