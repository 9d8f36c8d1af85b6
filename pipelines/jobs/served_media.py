"""Technical metadata of a file, now: read once, kept in the cache, and read once where many ask at the same time.

It is what a job ``probe`` without more tells, and is kept as its result: what one has read, the other doesn't.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from cluster.cache import Cache, Version
from cluster.child import MediaChild
from cluster.errors import ChildFailedError
from cluster.roots import Roots
from cluster.sources import OpenSource, open_source
from pipelines.jobs.cached_results import found_in, keep_found, result_address
from pipelines.jobs.models import Found, JobError
from pipelines.jobs.own_fault import kept_fault, known_fault
from pipelines.jobs.place_faults import place_fault
from pipelines.media.info import MediaInfo
from pipelines.media.probing.probe_result import ProbeResult
from pipelines.media.probing.probe_spec import ProbeSpec

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

    def get(self, source: str, roots: Roots) -> MediaText | JobError:
        """What is in the file or the object; or what is wrong with that itself.

        Raises:
            StorageError, ChildError: as a job of it would fail.
        """
        with open_source(source, roots) as opened:
            stamped = opened.stamp()
            if not stamped.settled:  # nobody is told what another was, a moment ago
                return MediaText(self._read(opened).model_dump_json(), stamped.digest)
            version = Version(opened.identity().digest, stamped.digest, opened.path.name)
            at = result_address(_UNIT, [version], ProbeSpec())

            def find() -> str | JobError | None:
                look = self._cache.look(at)
                if found := found_in(look):
                    return _told(found)
                return known_fault(look)

            def make() -> str | JobError:
                look = self._cache.look(at)
                try:
                    info = self._read(opened)
                except ChildFailedError as error:
                    return kept_fault(self._cache, at, look, error, _UNIT)
                result = ProbeResult.model_validate(info.model_dump()).model_dump(mode="json")
                keep_found(self._cache, at, Found(result=result), "metadata", look)
                return info.model_dump_json()

            found = self._cache.once(at.key, find, make)
            return found if isinstance(found, JobError) else MediaText(found, stamped.digest)

    def _read(self, source: OpenSource) -> MediaInfo:
        try:
            with self._lend() as child:
                function = "pipelines.media.probing.probe:probe"
                found = child.call(function, {"source": source.for_child()}, MediaInfo, limit_s=_LIMIT_S)
        except ChildFailedError as error:  # one that is being written, or can't be had, looks damaged
            if fault := place_fault(source):
                raise fault from error
            raise
        if fault := place_fault(source):
            raise fault
        return found


def _told(found: Found) -> str:
    """MediaInfo as JSON, of what a probe found."""
    return MediaInfo.model_validate({name: found.result[name] for name in MediaInfo.model_fields}).model_dump_json()
