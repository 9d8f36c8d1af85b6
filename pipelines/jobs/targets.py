"""Where a job's files go."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.storage import local_path
from pipelines.jobs.catalogue import Operation
from pipelines.media.profiles import Profile


def resolved_output(
    operation: Operation, params: Any, sources: tuple[str, ...], profiles: Mapping[str, Profile]
) -> Path | None:
    """The file or folder that ``output`` names, absolute; None where it isn't given.

    A folder given where a file is made gets the file ``SOURCE-STEM.SUFFIX``.

    Raises:
        StorageError: not a path.
    """
    given = getattr(params, "output", None)
    if given is None or operation.output == "none":
        return None
    path = local_path(given)
    if operation.output == "file" and (given.endswith("/") or path.is_dir()):
        return path / default_name(operation, params, sources, profiles)
    return path


def default_name(operation: Operation, params: Any, sources: tuple[str, ...], profiles: Mapping[str, Profile]) -> str:
    """The name of the file that a ``file`` operation makes."""
    suffix = operation.suffix(params, profiles) if operation.suffix else ""
    return local_path(sources[0]).stem + suffix


def target_of(operation: Operation, output: Path | None, artifacts: Path, name: str) -> Path:
    """Where a finished file named ``name`` goes: the output, or the job's own folder of artifacts."""
    if output is None:
        return artifacts / name
    return output if operation.output == "file" else output / name
