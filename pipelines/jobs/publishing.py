"""Finished files on their way to where they belong: beside their targets on the disk, or in object storage.

What goes to object storage stays in scratch until it is published: to complete its upload is to publish it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import redis

from cluster.disk import flush_folder
from cluster.locations import Location, location_of
from cluster.object_paths import ObjectPath
from cluster.roots import Roots, check_object_below
from cluster.staging import check_target, check_target_folder, publish, remove_staged, stage
from cluster.uploader import Upload
from cluster.uploading import check_target_object, upload_all
from pipelines.jobs.errors import UnitDroppedError
from pipelines.jobs.models import Joined
from pipelines.jobs.scratch import note_staging, tag_of

_PUBLISHED_AT_ONCE = 32  # files between two looks at the fence


def check_output(output: Location, roots: Roots, *, folder: bool, overwrite: bool) -> None:
    """Refuse an output that can't be published to, or into.

    Raises:
        StorageError: ``output_outside_roots``, ``output_exists``, ``output_not_writable``.
    """
    if isinstance(output, ObjectPath):
        access = check_object_below(output, roots.objects, "output_outside_roots")
        if not folder:
            check_target_object(output, access, overwrite=overwrite)
    elif folder:
        check_target_folder(output, roots.write)
    else:
        check_target(output, roots.write, overwrite=overwrite)


def clear_way(targets: Sequence[Location], roots: Roots, job_id: str, *, overwrite: bool) -> None:
    """Remove what an earlier join staged beside these files' targets. Raises as ``check_output``."""
    for target in targets:
        if isinstance(target, ObjectPath):  # whether something is there is seen when it's published: a look costs time
            check_object_below(target, roots.objects, "output_outside_roots")
        else:
            check_target(target, roots.write, overwrite=overwrite)
    for at in _folders(targets):
        remove_staged(at, tag_of(job_id))


def stage_all(
    made: Sequence[Path], targets: Sequence[Location], roots: Roots, job_id: str, fence: int, notes: Path
) -> tuple[str, ...]:
    """Bring files where publishing them is but a name, or an upload; where they are now. Noted in ``notes`` first."""
    if targets:
        note_staging(notes, _folders(targets))
    tag = f"{tag_of(job_id)}{fence}"
    staged = [
        path if isinstance(target, ObjectPath) else stage(path, target, roots.write, tag)
        for path, target in zip(made, targets, strict=True)
    ]
    for at in _folders(targets):
        flush_folder(at)
    return tuple(map(str, staged))


def publish_all(joined: Joined, roots: Roots, *, overwrite: bool, held: Callable[[], bool]) -> None:
    """Give all files of a join their names. May be repeated.

    Raises:
        UnitDroppedError: the unit isn't ``held`` any more.
        StorageError: see ``publish`` and ``upload_all``.
    """
    files = [
        (staged, location_of(artifact.path), artifact)
        for artifact, staged in zip(joined.artifacts, joined.staged, strict=True)
    ]
    local = [(Path(staged), target, artifact) for staged, target, artifact in files if isinstance(target, Path)]
    for number, (path, target, artifact) in enumerate(local):
        if number % _PUBLISHED_AT_ONCE == 0 and not held():
            raise UnitDroppedError
        publish(path, target, overwrite=overwrite, size_bytes=artifact.size_bytes)
    for at in _folders([target for _, target, _ in local]):
        flush_folder(at)
    uploads = [
        (target, Upload(made=Path(staged), target=str(target), media_type=artifact.media_type))
        for staged, target, artifact in files
        if isinstance(target, ObjectPath)
    ]
    accesses = [check_object_below(target, roots.objects, "output_outside_roots") for target, _ in uploads]
    if not accesses:
        return
    wanted, made = _unless_known_lost(held), [upload for _, upload in uploads]
    if not (held() and upload_all(made, accesses[0], overwrite=overwrite, wanted=wanted)):
        raise UnitDroppedError


def _unless_known_lost(held: Callable[[], bool]) -> Callable[[], bool]:
    def wanted() -> bool:
        try:
            return held()
        except (redis.RedisError, ValueError):  # the store is away: the commit will tell
            return True

    return wanted


def _folders(targets: Sequence[Location]) -> set[Path]:
    return {target.parent for target in targets if isinstance(target, Path)}
