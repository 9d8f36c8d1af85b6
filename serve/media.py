"""``GET /v1/media``: technical metadata of a file, now; and ``DELETE /v1/cache``, which forgets what was kept."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from pipelines.jobs.errors import InvalidError
from pipelines.jobs.media_service import MediaService
from pipelines.media.info import MediaInfo


def media_routes(media: MediaService) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["media"])

    @router.get("/media", response_model=MediaInfo)
    async def get_media(source: Annotated[str, Query(max_length=4096)]) -> Response:
        """Technical metadata of a file, from the cache or read now."""
        if not source:
            raise InvalidError("Name a source.", "source_invalid")
        return Response(await media.media(source), media_type="application/json")

    @router.delete("/cache", status_code=204)
    async def purge_cache(
        source: Annotated[str | None, Query(min_length=1, max_length=4096)] = None,
        operation: Annotated[str | None, Query(max_length=100)] = None,
        collection: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
    ) -> Response:
        """Forget what the cache has of a source's content, of an operation, or of all files of a collection."""
        await media.purge(source=source, operation=operation, collection=collection)
        return Response(status_code=204)

    return router
