"""What jobs on pictures write beside each other: nothing over a source, nor over a file that isn't to be replaced."""

from collections.abc import Iterable, Sequence

from cluster.errors import StorageError
from cluster.locations import Location, location_of
from cluster.object_paths import ObjectPath
from pipelines.jobs.catalogue import Made
from pipelines.jobs.file_sources import Entry
from pipelines.jobs.workbench import Workbench


def check_outputs(bench: Workbench, entries: Sequence[Entry], endings: Sequence[str]) -> None:
    """Refuse before the work what would be refused after it.

    Raises:
        StorageError: ``output_exists``, ``output_is_source``.
    """
    output = getattr(bench.params, "output", None)
    if output is None:
        return
    sources = {_file_id(location_of(entry.source)) for entry in entries} if bench.params.overwrite else set()
    for entry in entries:
        for ending in endings:
            target = location_of(output) / (entry.name + ending)
            there = _file_id(target)
            # Whether an object is there is seen when it's published: each look is a request.
            if there is not None and not bench.params.overwrite and not isinstance(target, ObjectPath):
                raise StorageError(
                    "output_exists", f"{target} exists already. Choose another folder, or set overwrite."
                )
            if there in sources and there is not None:
                raise _is_source(target)


def spare_sources(bench: Workbench, sources: Iterable[str], made: Iterable[Made]) -> None:
    """Also with ``overwrite``, no source is replaced; nor where the file system takes ``A.JPG`` for ``a.jpg``.

    Raises:
        StorageError: ``output_is_source``.
    """
    output = getattr(bench.params, "output", None)
    if output is None:
        return
    taken = {_file_id(location_of(source)) for source in sources} - {None}
    for each in made:
        target = location_of(output) / each.name
        if _file_id(target) in taken:
            raise _is_source(target)


def _is_source(target: Location) -> StorageError:
    return StorageError("output_is_source", f"{target} is one of the sources. Choose another output folder.")


def _file_id(path: Location) -> tuple[int, int] | ObjectPath | None:
    if isinstance(path, ObjectPath):
        return path
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
