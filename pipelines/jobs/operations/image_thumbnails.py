"""``image-thumbnails``: renditions of pictures, in several sizes of one decode."""

from pipelines.jobs.catalogue import CommonParams
from pipelines.jobs.pictures import PictureWork, picture_operation
from pipelines.media.images.thumbnail_spec import ThumbnailSpec, ThumbnailsResult, endings, estimate_s, memory_bytes


class Params(ThumbnailSpec, CommonParams):
    """Which renditions, in which format."""


OPERATION = picture_operation(
    name="image-thumbnails",
    summary="Make renditions of pictures in several sizes: upright, in sRGB, with those metadata that you keep.",
    params=Params,
    work=PictureWork(
        function="pipelines.media.images.thumbnails:thumbnails",
        spec=ThumbnailSpec,
        result=ThumbnailsResult,
        estimate_s=estimate_s,
        memory_bytes=memory_bytes,
        endings=endings,
    ),
    examples=({"sources": ["/photos/example.jpg"], "params": {"sizes": ["720", "square"]}},),
)
