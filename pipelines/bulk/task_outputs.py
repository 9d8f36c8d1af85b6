"""Where the files go that a task makes of the files of a collection, and how they get there: whole, or not at all."""

import filecmp
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.disk import flush_all
from cluster.errors import StorageError
from cluster.staging import check_target, publish, remove_staged, stage
from pipelines.jobs.catalogue import Made
from pipelines.jobs.scratch import tag_of


@dataclass(frozen=True)
class OutputFolder:
    """``folder`` is what the parameter ``output`` names, else a folder of the collection's own, by content.

    ``fence`` is that of the unit that publishes: another try of it may be on its way still.
    """

    folder: Path
    named: bool
    overwrite: bool
    roots: tuple[Path, ...]
    job_id: str
    fence: int

    def target(self, name: str, identity: str, made: Made) -> Path:
        """Of a file made of the one that is called ``name``, without its extension, and holds ``identity``."""
        if self.named:
            return self.folder / f"{name}{made.name}"
        return self.folder / identity[:2] / f"{identity}{made.name}"

    def folders(self, names: Iterable[str], identities: Iterable[str]) -> set[Path]:
        """All that ``target`` may lie in of these files."""
        if self.named:
            return {each for name in names for each in (self.folder / name, (self.folder / name).parent)}
        return {self.folder / identity[:2] for identity in identities}

    def sweep(self, folders: Iterable[Path]) -> None:
        """Remove what batches that were killed left half-published; none is at work."""
        for folder in filter(Path.is_dir, folders):
            remove_staged(folder, tag_of(self.job_id))


def published(output: OutputFolder, name: str, identity: str, made: Sequence[Made]) -> list[dict[str, object]]:
    """Give finished files that are on the disk their names; what is known of each. ``flushed`` makes the names last.

    What an earlier try of the same work published is left as it is.

    Raises:
        StorageError: a target can't be written, or holds something else.
    """
    known = []
    for each in made:
        target = output.target(name, identity, each)
        check_target(target, output.roots, overwrite=True)
        size_bytes = each.path.stat().st_size
        if not (target.exists() and filecmp.cmp(each.path, target, shallow=False)):
            if target.exists() and output.named and not output.overwrite:
                told = f"{target} exists already. Choose another folder, or set overwrite."
                raise StorageError("output_exists", told)
            staged = stage(each.path, target, output.roots, f"{tag_of(output.job_id)}{output.fence}")
            publish(staged, target, overwrite=True, size_bytes=size_bytes)
        known.append({"path": str(target), "size_bytes": size_bytes, "media_type": each.media_type})
    return known


def flush_made(made: Sequence[Made]) -> None:
    """Bring finished files to the disk: before they are published. Their names in scratch need not last."""
    flush_all([each.path for each in made])


def flush_names(paths: Sequence[str]) -> None:
    """Bring the names of published files to the disk, once for each folder."""
    flush_all({Path(path).parent for path in paths})
