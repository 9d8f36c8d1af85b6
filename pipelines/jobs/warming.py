"""Filling the caches that ``GET /v1/media`` and ``GET /v1/images`` look into, by the way that these take themselves."""

import contextlib
from collections.abc import Callable
from typing import Any

from cluster.cache import Cache, CacheStats
from cluster.child import MediaChild
from cluster.errors import ChildError, ChildKilledError, StorageError
from cluster.file_cache import FileCache
from cluster.roots import Roots
from pipelines.jobs.errors import CacheAwayError, job_error
from pipelines.jobs.models import JobError
from pipelines.jobs.served_media import ServedMedia
from pipelines.jobs.served_pictures import ServedPictures
from pipelines.media.images.thumbnail_spec import ThumbnailSpec


class Warmer:
    """``files`` are the pictures of this node; what isn't there is made in ``child``."""

    def __init__(self, cache: Cache, files: FileCache, child: MediaChild) -> None:
        def lend() -> contextlib.AbstractContextManager[MediaChild]:
            return contextlib.nullcontext(child)

        self._cache = cache
        self._media = ServedMedia(cache, lend)
        self._pictures = ServedPictures(files, cache, lend, lend)

    def check(self) -> CacheStats:
        """What the cache holds. Raises CacheAwayError: nothing can be kept."""
        stats = self._cache.stats()
        if stats is None:
            raise CacheAwayError
        return stats

    def media(self, source: str, roots: Roots) -> JobError | None:
        """Have the metadata of a source in the cache; or what is wrong with it."""
        return _told(lambda: self._media.get(source, roots))

    def picture(self, source: str, spec: ThumbnailSpec, roots: Roots) -> JobError | None:
        """Have a rendition of a picture on disk; or what is wrong with it."""
        return _told(lambda: self._pictures.get(source, spec, roots))


def _told(get: Callable[[], Any]) -> JobError | None:
    try:
        found = get()
    except ChildKilledError:  # the work was taken away
        raise
    except (ChildError, StorageError) as error:
        return job_error(error)
    return found if isinstance(found, JobError) else None
