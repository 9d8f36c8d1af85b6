"""The same work asked for twice: the result of a job that made no files is kept in the cache, for the next such job."""

from collections.abc import Sequence

from pydantic import BaseModel

from cluster.cache import Address, Cache, Kind, Look, Version, address_of
from cluster.errors import StorageError
from cluster.locations import location_of
from pipelines.jobs.build import build_id
from pipelines.jobs.catalogue import Operation
from pipelines.jobs.models import Found, Joined, Lookup, Plan
from pipelines.jobs.workbench import Workbench

_MOST_BYTES = 256 << 10  # of a result: it is written to the job store with the plan
_NOT_OF_THE_RESULT = {"output", "overwrite", "fresh"}


class CachedResults:
    """Results by their sources, the operation, its parameters, and the build that does it."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def look(self, operation: Operation, bench: Workbench) -> Lookup | None:
        """Where the result of this job lies, with what is found there, unless it is to be ``fresh``.

        None: of such jobs none are kept, or a source is missing, or may still be written.
        """
        if operation.cached is None or (operation.many and len(bench.sources) > 1):
            return None
        if getattr(bench.params, "output", None):
            return None
        try:
            stamps = bench.settled_stamps(bench.sources)
            identities = [bench.identity(source).digest for source in bench.sources]
        except StorageError:  # the operation tells
            return None
        if stamps is None:
            return None
        # A result tells its sources by their names, and where there may be many by their paths.
        names = [source if operation.many else location_of(source).name for source in bench.sources]
        at = result_address(operation.name, list(map(Version, identities, stamps, names)), bench.params)
        look = self._cache.look(at)
        found = None if getattr(bench.params, "fresh", False) else found_in(look)
        self._cache.count("hits" if found else "misses", "result")
        return Lookup(
            key=at.key,
            tags=at.tags,
            generations=look.generations,
            stamps=stamps,
            found=found,
        )

    def keep(self, operation: Operation, bench: Workbench, plan: Plan, joined: Joined) -> None:
        """Keep what a job came to, if it made no files and its sources are as they were when it was planned."""
        lookup = plan.lookup
        if lookup is None or operation.cached is None or joined.artifacts:
            return
        found = Found(result=joined.result, warnings=tuple(dict.fromkeys((*plan.warnings, *joined.warnings))))
        if bench.settled_stamps(bench.sources) == lookup.stamps:
            at = Address(lookup.key, lookup.tags)
            keep_found(self._cache, at, found, operation.cached, Look(generations=lookup.generations))


def result_address(operation: str, sources: Sequence[Version], params: BaseModel) -> Address:
    """Where what this build tells of sources lies, as Found."""
    return address_of(
        operation, sources, params.model_dump(mode="json", exclude=_NOT_OF_THE_RESULT), build_id("answers")
    )


def keep_found(cache: Cache, at: Address, found: Found, kind: Kind, look: Look) -> None:
    """Keep what was ``found``, as it was known when ``look`` was taken; not what is too large to be kept."""
    text = found.model_dump_json()
    if len(text.encode()) <= _MOST_BYTES:
        cache.put(at, text, kind, look)


def found_in(look: Look) -> Found | None:
    """What lies at a ``result_address``; None where that is what is wrong with the file, or nothing."""
    return Found.model_validate_json(look.value) if look.kind != "negative" and look.value else None
