"""What is told of a collection's files by what lies beside them, holds or lists them: the values that travel."""

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

ARCHIVES = (".zip", ".cbz", ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")
MANIFESTS = (".csv", ".jsonl", ".ndjson", ".parquet")
Value = str | tuple[str, ...]


def _below(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise ValueError("leads out of the archive")
    return name


class Sidecar(BaseModel, frozen=True, extra="forbid"):
    """What a side-car tells: the fields of the file that it lies beside, as ``""``, or of each file of a table."""

    fields: dict[str, dict[str, Value]]


class Listed(BaseModel, frozen=True, extra="forbid"):
    """The files that a manifest names, as it names them: paths, which may be below its own folder, or URIs."""

    names: tuple[str, ...]


class Member(BaseModel, frozen=True, extra="forbid"):
    """A file of an archive: its ``name`` in there, that of the ``file`` it was unpacked to, and when it was changed."""

    name: Annotated[str, AfterValidator(_below)]
    file: str = Field(pattern=r"^\d{6,}(\.[a-z0-9]{1,8})?$")
    modified_s: float = Field(ge=0, allow_inf_nan=False)


class Unpacked(BaseModel, frozen=True, extra="forbid"):
    """What was unpacked; ``others`` are files that weren't wanted."""

    members: tuple[Member, ...]
    others: int
