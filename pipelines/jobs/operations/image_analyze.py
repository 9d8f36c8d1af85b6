"""``image-analyze``: what pictures are like: quality with its parts, issues, colours, hashes, what stands out."""

from pipelines.jobs.catalogue import FreshParams
from pipelines.jobs.pictures import PictureWork, picture_operation
from pipelines.media.images.analysis.analysis_spec import Analysis, AnalysisSpec, estimate_s, memory_bytes


class Params(AnalysisSpec, FreshParams):
    """What to tell of them."""


OPERATION = picture_operation(
    name="image-analyze",
    summary="Tell what pictures are like: quality and its parts, issues, colours, perceptual hash, what stands out.",
    params=Params,
    work=PictureWork(
        function="pipelines.media.images.analysis.analyse:analyse",
        spec=AnalysisSpec,
        result=Analysis,
        estimate_s=estimate_s,
        memory_bytes=memory_bytes,
    ),
    output="none",
    cached="analysis",
    examples=({"sources": ["/photos/example.jpg"], "params": {}},),
)
