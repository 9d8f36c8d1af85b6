"""``image-enhance``: make pictures look better: by what is asked for, or by what an analysis finds."""

from pipelines.jobs.catalogue import CommonParams
from pipelines.jobs.pictures import PictureWork, picture_operation
from pipelines.media.images.enhancement.enhance_spec import Enhanced, EnhanceSpec, estimate_s, memory_bytes


class Params(EnhanceSpec, CommonParams):
    """Which steps, and how strong."""


OPERATION = picture_operation(
    name="image-enhance",
    summary="Better pictures: levels, white balance, noise, sharpness, contrast; --auto does what they need.",
    params=Params,
    work=PictureWork(
        function="pipelines.media.images.enhancement.enhance:enhance",
        spec=EnhanceSpec,
        result=Enhanced,
        estimate_s=estimate_s,
        memory_bytes=memory_bytes,
    ),
    examples=({"sources": ["/photos/example.jpg"], "params": {"auto": True}},),
)
