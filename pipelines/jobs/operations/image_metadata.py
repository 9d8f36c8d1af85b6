"""``image-metadata``: tell what pictures carry beside pixels; strip or write it without touching the pixels."""

from pipelines.jobs.catalogue import CommonParams
from pipelines.jobs.pictures import PictureWork, picture_operation
from pipelines.media.images.metadata.metadata_spec import Metadata, MetadataSpec, estimate_s, memory_bytes


class Params(MetadataSpec, CommonParams):
    """What to strip, and what to write."""


OPERATION = picture_operation(
    name="image-metadata",
    summary="Tell EXIF, GPS, IPTC, XMP, ICC and more of pictures; strip or write them, the pixels untouched.",
    params=Params,
    work=PictureWork(
        function="pipelines.media.images.metadata.metadata:metadata",
        spec=MetadataSpec,
        result=Metadata,
        estimate_s=estimate_s,
        memory_bytes=memory_bytes,
    ),
    cached="metadata",
    examples=(
        {"sources": ["/photos/example.jpg"], "params": {}},
        {"sources": ["/photos/example.jpg"], "params": {"strip": "gps", "output": "/photos/clean"}},
    ),
)
