"""Where a job's files go."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.storage import local_path
from pipelines.jobs.catalogue import Operation
from pipelines.jobs.errors import InvalidError
from pipelines.media.profiles import Profile

# What players take a name's extension for.
_EXTENSIONS = frozenset(
    f".{name}"
    for name in (
        *("3gp", "avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mxf", "ogv", "ts", "webm", "wmv"),
        *("aac", "flac", "m4a", "mka", "mp3", "oga", "ogg", "opus", "wav", "wma"),
    )
)
_SAME = {".mp4": ".m4v"}


def resolved_output(
    operation: Operation, params: Any, sources: tuple[str, ...], profiles: Mapping[str, Profile]
) -> Path | None:
    """The file or folder that ``output`` names, absolute; None where it isn't given.

    A folder given where a file is made gets the file ``SOURCE-STEM.SUFFIX``.

    Raises:
        StorageError: not a path.
        InvalidError: its extension names another container than the one that is made.
    """
    given = getattr(params, "output", None)
    if given is None or operation.output == "none":
        return None
    path = local_path(given)
    if operation.output == "file" and (given.endswith("/") or path.is_dir()):
        return path / default_name(operation, params, sources, profiles)
    if operation.suffix:
        _refuse_foreign(path.suffix.lower(), operation.suffix(params, profiles))
    return path


def _refuse_foreign(given: str, made: str) -> None:
    """An extension that means nothing to players is a part of the name, as in ``film.part1``."""
    if given in _EXTENSIONS and given != _SAME.get(made, made) and given != made:
        raise InvalidError(
            f"The output is named {given}, but {made} is made. Name it {made}, or take a profile that makes {given}.",
            "output_extension",
        )


def default_name(operation: Operation, params: Any, sources: tuple[str, ...], profiles: Mapping[str, Profile]) -> str:
    """The name of the file that a ``file`` operation makes."""
    suffix = operation.suffix(params, profiles) if operation.suffix else ""
    return local_path(sources[0]).stem + suffix


def target_of(operation: Operation, output: Path | None, artifacts: Path, name: str) -> Path:
    """Where a finished file named ``name`` goes: the output, or the job's own folder of artifacts."""
    if output is None:
        return artifacts / name
    return output if operation.output == "file" else output / name
