"""Where a job's files go."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from cluster.locations import Location, location_of
from pipelines.jobs.catalogue import Operation
from pipelines.jobs.errors import InvalidError
from pipelines.media.profiles import Profile

# Extensions by which players, programs and people know a format.
_EXTENSIONS = frozenset(
    f".{name}"
    for name in (
        *("3gp", "avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mxf", "ogv", "ts", "webm", "wmv"),
        *("aac", "flac", "m4a", "mka", "mp3", "oga", "ogg", "opus", "wav", "wma"),
        *("avif", "gif", "webp"),
        *("csv", "json", "jsonl", "parquet"),
    )
)
_OTHER_NAMES = {".mp4": {".m4v", ".m4a"}, ".mkv": {".mka"}, ".opus": {".ogg", ".oga"}}


def resolved_output(
    operation: Operation, params: Any, sources: tuple[str, ...], profiles: Mapping[str, Profile]
) -> Location | None:
    """The file or folder that ``output`` names, absolute; None where it isn't given.

    A folder given where a file is made gets the file ``SOURCE-STEM.SUFFIX``; in object storage a slash at its end says
    that it is one.

    Raises:
        StorageError: neither a path nor the URI of an object.
    """
    given = getattr(params, "output", None)
    if given is None or operation.output == "none":
        return None
    path = location_of(given)
    if operation.output == "file" and (given.endswith("/") or (isinstance(path, Path) and path.is_dir())):
        return path / default_name(operation, params, sources, profiles)
    return path


def check_extension(operation: Operation, params: Any, output: Location, profiles: Mapping[str, Profile]) -> None:
    """Refuse a file's name that promises another container than the one that is made.

    Raises:
        InvalidError: ``output_extension``. One that names no container is a part of the name, as in ``film.part1``.
    """
    if operation.suffix is None:
        return
    given, made = output.suffix.lower(), Path(f"any{operation.suffix(params, profiles)}").suffix
    if given in _EXTENSIONS - {made} - _OTHER_NAMES.get(made, set()):
        other = _format_of(operation, params, given, profiles)
        hint = "" if other is None else f", or set format to {other}"
        message = f"The output is named {given}, but {made} is made. Name it {made}{hint}."
        raise InvalidError(message, "output_extension")


def _format_of(operation: Operation, params: Any, suffix: str, profiles: Mapping[str, Profile]) -> str | None:
    """The value of the parameter ``format``, if there is one, that makes a file of this extension."""
    field = type(params).model_fields.get("format")
    if field is None or operation.suffix is None:
        return None
    for each in get_args(field.annotation):
        if operation.suffix(params.model_copy(update={"format": each}), profiles).endswith(suffix):
            return str(each)
    return None


def default_name(operation: Operation, params: Any, sources: tuple[str, ...], profiles: Mapping[str, Profile]) -> str:
    """The name of the file that a ``file`` operation makes."""
    suffix = operation.suffix(params, profiles) if operation.suffix else ""
    return location_of(sources[0]).stem + suffix


def target_of(operation: Operation, output: Location | None, artifacts: Path, name: str) -> Location:
    """Where a finished file named ``name`` goes: the output, or the job's own folder of artifacts."""
    if output is None:
        return artifacts / name
    return output if operation.output == "file" else output / name
