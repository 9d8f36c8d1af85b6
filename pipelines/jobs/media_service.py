"""What pages ask for now: a file's technical metadata, at hand where it was asked for, and pictures; and to forget."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict
from functools import partial
from typing import Protocol

from cluster.cache import Cache, operation_tag, source_tag
from cluster.grants import current_roots
from cluster.identity import Identity
from cluster.near_cache import NearCache
from cluster.object_paths import is_object_uri
from cluster.settings import Settings
from cluster.sources import open_source
from pipelines.jobs.asking import Asking
from pipelines.jobs.errors import CacheAwayError, InvalidError, UnknownError
from pipelines.jobs.models import JobError
from pipelines.jobs.served_media import MediaText
from pipelines.jobs.served_pictures import KnownPicture, ServedPicture, etag_of
from pipelines.jobs.service import RefusedError
from pipelines.jobs.single_flight import SingleFlight
from pipelines.media.images.thumbnail_spec import ThumbnailSpec

_STORAGE = "The storage of the source"
_LIMIT_S = 10.0  # of somebody who waits, for what tells of a source


class MediaLane(Protocol):
    """Where metadata are read, and pictures made, while the caller waits."""

    async def media(self, source: str) -> MediaText | JobError: ...
    async def picture(self, source: str, spec: ThumbnailSpec) -> ServedPicture | JobError: ...
    async def forget(self, tags: Collection[str]) -> None: ...


class MediaService:
    """The cache as a replica sees it.

    ``operations`` are the names of those that results may be of; ``identities`` are those of a collection's files, by
    its name, or raises StorageError.
    """

    def __init__(
        self,
        settings: Settings,
        lane: MediaLane,
        near: NearCache,
        cache: Cache,
        operations: frozenset[str],
        identities: Callable[[str], Iterable[str]],
    ) -> None:
        self._settings = settings
        self._lane = lane
        self._near = near
        self._cache = cache
        self._operations = operations
        self._identities = identities
        self._looks, self._purges = Asking("looks"), Asking("purges")  # a store that is silent holds up no picture
        self._reading: SingleFlight[MediaText | JobError] = SingleFlight()
        self._making: SingleFlight[ServedPicture | JobError] = SingleFlight()

    def start(self) -> None:
        """Begin to hear of purges."""
        self._near.start()

    async def stop(self) -> None:
        await self._near.stop()

    async def media(self, source: str) -> str:
        """Technical metadata of a source, JSON of MediaInfo.

        A file is known again by what the file system notes of it, so it isn't read; one that was changed is another.
        So is an object, by what its store notes.

        Raises:
            StorageError: see ``open_source``; ``storage_unavailable``: its store doesn't tell in time.
            RefusedError: it can't be read as media.
        """
        stamped, name = await self._look_aside(source) if is_object_uri(source) else self._look(source)
        key = f"{stamped.digest}:{name}"
        if stamped.settled and (known := self._near.get(key)) is not None:
            return known
        purges = self._near.purges
        answer = await self._reading.result((source, stamped.digest, purges), lambda: self._lane.media(source))
        if isinstance(answer, JobError):
            raise RefusedError(answer)
        if stamped.settled and answer.stamp == stamped.digest:  # a link may lead elsewhere by now
            self._near.put(key, answer.text, purges)
        return answer.text

    async def picture(
        self, source: str, spec: ThumbnailSpec, known: Collection[str] = ()
    ) -> ServedPicture | KnownPicture:
        """A rendition of a picture. Nothing is read or made for one whose ETag is among ``known``.

        Raises:
            StorageError: see ``open_source``; ``storage_unavailable``: nothing tells of it in time.
            RefusedError: it can't be made.
        """
        stamped, _ = await self._look_aside(source)
        if (etag := etag_of(stamped, spec)) in known and etag is not None:
            return KnownPicture(etag=etag)
        # Not by the purges, as above: what is being made during one is made anew.
        answer = await self._making.result((source, stamped.digest, spec), lambda: self._lane.picture(source, spec))
        if isinstance(answer, JobError):
            raise RefusedError(answer)
        return answer

    async def check_source(self, source: str) -> None:
        """Raises StorageError where ``source`` can't be read: see ``open_source``."""
        await self._look_aside(source)

    async def purge(
        self, *, source: str | None = None, operation: str | None = None, collection: str | None = None
    ) -> None:
        """Forget what is kept of a source's content, of an operation, or of the contents that a collection knows.

        With pictures on this node.

        Raises:
            StorageError: there is no such source, or collection; ``storage_unavailable``: nothing tells in time.
            InvalidError, UnknownError: none is named; there is no such operation.
            CacheAwayError
        """
        if operation is not None and operation not in self._operations:
            raise UnknownError(f"There is no operation {operation!r}.", "operation_unknown")
        if source is None and operation is None and collection is None:
            raise InvalidError("Name what to forget: a source, an operation or a collection.")
        tags = {operation_tag(operation)} if operation is not None else set()
        if source is not None:
            identity = await self._purges.ask(partial(self._identity, source), _STORAGE, _LIMIT_S)
            tags.add(source_tag(identity))
        if collection is not None:
            tags.update(map(source_tag, await asyncio.to_thread(self._identities, collection)))
        await self._lane.forget(tags)
        purged = await asyncio.to_thread(self._cache.purge, tags)
        self._near.clear()
        if not purged:
            raise CacheAwayError

    async def stats(self) -> dict[str, int] | None:
        """What the cache holds and how often it was of use; ``near_hits`` of this replica. None: it's away."""
        found = await asyncio.to_thread(self._cache.stats)
        return None if found is None else {**asdict(found), "near_hits": self._near.hits}

    async def _look_aside(self, source: str) -> tuple[Identity, str]:
        """Where a share that hangs holds up nobody else."""
        return await self._looks.ask(partial(self._look, source), _STORAGE, _LIMIT_S)

    def _look(self, source: str) -> tuple[Identity, str]:
        """The stamp of a file or an object, and its name."""
        with open_source(source, current_roots(self._settings)) as opened:
            return opened.stamp(), opened.path.name

    def _identity(self, source: str) -> str:
        with open_source(source, current_roots(self._settings)) as opened:
            return opened.identity().digest
