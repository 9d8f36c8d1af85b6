"""Where the files go that a task makes of the files of a collection, and how they get there: whole, or not at all."""

import filecmp
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.disk import flush_all
from cluster.errors import StorageError
from cluster.locations import Location
from cluster.object_paths import ObjectPath, is_object_uri
from cluster.roots import ObjectAccess, check_object_below
from cluster.staging import check_target, publish, remove_staged, stage
from cluster.uploader import Upload
from cluster.uploading import upload_each
from pipelines.bulk.tables import AT
from pipelines.jobs.catalogue import Made
from pipelines.jobs.scratch import tag_of

_ARTIFACTS, _IDENTITY, _PATH, _SIZE = "artifacts", "identity", "path", "size_bytes"


@dataclass(frozen=True)
class OutputFolder:
    """``folder`` is what the parameter ``output`` names, else a folder of the collection's own, by content.

    ``fence`` is that of the unit that publishes: another try of it may be on its way still. ``outdated`` is a file that
    tells, if it's there, what earlier jobs put there of contents that no file has any more.
    """

    folder: Location
    named: bool
    overwrite: bool
    roots: tuple[Path, ...]
    job_id: str
    fence: int
    objects: ObjectAccess | None = None
    outdated: Path | None = None

    @cached_property
    def made_before(self) -> pa.Table | None:
        """What ``outdated`` tells: of each file its ``path``, ``size_bytes``, and since when it is there at the latest.

        There may be a million, and a batch asks for a few: they stay a table.
        """
        if self.outdated is None or not self.outdated.exists():
            return None
        return pq.read_table(self.outdated, columns=[_PATH, _SIZE, AT], partitioning=None)

    def target(self, name: str, identity: str, made: Made) -> Location:
        """Of a file made of the one that is called ``name``, without its extension, and holds ``identity``."""
        if self.named:
            return self.folder / f"{name}{made.name}"
        return self.folder / identity[:2] / f"{identity}{made.name}"

    def folders(self, names: Iterable[str], identities: Iterable[str]) -> set[Path]:
        """All on the disk that ``target`` may lie in of these files."""
        if isinstance(self.folder, ObjectPath):
            return set()
        if self.named:
            return {each for name in names for each in (self.folder / name, (self.folder / name).parent)}
        return {self.folder / identity[:2] for identity in identities}

    def sweep(self, folders: Iterable[Path]) -> None:
        """Remove what batches that were killed left half-published; none is at work."""
        for folder in filter(Path.is_dir, folders):
            remove_staged(folder, tag_of(self.job_id))


def published(output: OutputFolder, name: str, identity: str, made: Sequence[Made]) -> list[dict[str, object]]:
    """Give finished files that are on the disk their names; what is known of each. ``flush_names`` makes these last.

    What an earlier try of the same work published is left as it is; in object storage as far as samples tell.

    Raises:
        StorageError: a target can't be written, or holds something else.
    """
    targets = [output.target(name, identity, each) for each in made]
    if isinstance(output.folder, ObjectPath):
        _upload(output, output.folder, made, targets)
    else:
        for each, target in zip(made, targets, strict=True):
            assert isinstance(target, Path)
            _name(output, each, target)
    return [
        {"path": str(target), "size_bytes": each.path.stat().st_size, "media_type": each.media_type}
        for each, target in zip(made, targets, strict=True)
    ]


def _name(output: OutputFolder, made: Made, target: Path) -> None:
    check_target(target, output.roots, overwrite=True)
    if _is_there(made, target):
        return
    if target.exists() and not _may_go(output, target):
        raise StorageError("output_exists", f"{target} exists already. Choose another folder, or set overwrite.")
    size_bytes = made.path.stat().st_size
    staged = stage(made.path, target, output.roots, f"{tag_of(output.job_id)}{output.fence}")
    try:
        # Asked again: to another disk a film is copied for long enough for somebody to write there meanwhile.
        publish(staged, target, overwrite=_may_go(output, target), size_bytes=size_bytes)
    except StorageError:
        staged.unlink(missing_ok=True)
        if not _is_there(made, target):  # as another try of the same work may have made it meanwhile
            raise


def _is_there(made: Made, target: Path) -> bool:
    return target.exists() and filecmp.cmp(made.path, target, shallow=False)


def _may_go(output: OutputFolder, target: Path) -> bool:
    """Whether what is there, if anything is, is to be replaced."""
    return not output.named or output.overwrite or _is_outdated(output, target)


def _is_outdated(output: OutputFolder, target: Path) -> bool:
    """Whether what is there is as an earlier job made it, of a content that no file has any more."""
    if not target.exists():
        return False
    facts, before = target.lstat(), output.made_before
    if before is None or not stat.S_ISREG(facts.st_mode):
        return False
    those = before.filter(pc.equal(before[_PATH], str(target)))
    return any(
        facts.st_size == size_bytes and facts.st_mtime <= at.timestamp()
        for size_bytes, at in zip(those[_SIZE].to_pylist(), those[AT].to_pylist(), strict=True)
    )


def artifacts_of(outcomes: pa.Table) -> pa.Table:
    """The files that were made of contents: of each its ``path``, ``size_bytes``, ``identity``, and until when."""
    artifacts = outcomes[_ARTIFACTS].combine_chunks()
    each, of_row = artifacts.flatten(), pc.list_parent_indices(artifacts)
    return pa.table(
        {
            _PATH: pc.struct_field(each, _PATH),
            _SIZE: pc.struct_field(each, _SIZE),
            _IDENTITY: outcomes[_IDENTITY].combine_chunks().take(of_row),
            AT: outcomes[AT].combine_chunks().take(of_row),
        }
    )


def _upload(output: OutputFolder, folder: ObjectPath, made: Sequence[Made], targets: Sequence[Location]) -> None:
    access = check_object_below(folder, output.objects, "output_outside_roots")
    uploads = [
        Upload(made=each.path, target=str(target), media_type=each.media_type)
        for each, target in zip(made, targets, strict=True)
    ]
    for told in upload_each(uploads, access, overwrite=output.overwrite) if uploads else ():
        if told.code is not None:
            raise StorageError(told.code, told.message)


def flush_made(made: Sequence[Made]) -> None:
    """Bring finished files to the disk: before they are published. Their names in scratch need not last."""
    flush_all([each.path for each in made])


def flush_names(paths: Sequence[str]) -> None:
    """Bring the names of published files to the disk, once for each folder; those of objects last."""
    flush_all({Path(path).parent for path in paths if not is_object_uri(path)})
