"""Technical metadata of a file, now: read once, kept in the cache, and read once where many ask at the same time."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from cluster.cache import Cache, Version, address_of
from cluster.child import MediaChild
from cluster.errors import ChildFailedError
from cluster.storage import OpenSource, open_source
from pipelines.jobs.build import build_id
from pipelines.jobs.models import JobError
from pipelines.jobs.own_fault import kept_fault, known_fault
from pipelines.jobs.workbench import changed
from pipelines.media.info import MediaInfo

_LIMIT_S = 60.0
_UNIT = "probe"


@dataclass(frozen=True)
class MediaText:
    """MediaInfo as JSON, and the stamp of the file that it is of: by now the source's name may lead to another."""

    text: str
    stamp: str


class ServedMedia:
    """``lend`` gives a child for as long as one is needed."""

    def __init__(self, cache: Cache, lend: Callable[[], AbstractContextManager[MediaChild]]) -> None:
        self._cache = cache
        self._lend = lend

    def get(self, source: str, roots: tuple[Path, ...]) -> MediaText | JobError:
        """What is in the file; or what is wrong with the file itself.

        Raises:
            StorageError, ChildError: as a job of it would fail.
        """
        with open_source(source, roots) as opened:
            stamped = opened.stamp()
            if not stamped.settled:  # nobody is told what another was, a moment ago
                return MediaText(self._read(opened), stamped.digest)
            version = Version(opened.identity().digest, stamped.digest, opened.path.name)
            at = address_of(_UNIT, [version], {}, build_id("answers"))

            def find() -> str | JobError | None:
                look = self._cache.look(at)
                return known_fault(look) or look.value

            def make() -> str | JobError:
                look = self._cache.look(at)
                try:
                    found = self._read(opened)
                except ChildFailedError as error:
                    return kept_fault(self._cache, at, look, error, _UNIT)
                self._cache.put(at, found, "metadata", look)
                return found

            found = self._cache.once(at.key, find, make)
            return found if isinstance(found, JobError) else MediaText(found, stamped.digest)

    def _read(self, source: OpenSource) -> str:
        try:
            with self._lend() as child:
                function = "pipelines.media.probing.probe:probe"
                found = child.call(function, {"source": source.for_child()}, MediaInfo, limit_s=_LIMIT_S)
        except ChildFailedError as error:  # a file that is being written looks damaged
            if source.is_other():
                raise changed(source) from error
            raise
        if source.is_other():
            raise changed(source)
        return found.model_dump_json()
