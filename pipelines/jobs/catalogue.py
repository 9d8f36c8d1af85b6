"""The operation catalogue: what mediaray can do, each declared once, in one module.

A module of operations has one ``OPERATION``. The catalogue is collected from module names, so that a worker that is
sent a name can load the same operation. OpenAPI, command line, client and docs are made from it.
"""

import importlib
import pkgutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cluster.errors import ChildCrashedError
from cluster.locations import Location
from pipelines.jobs.libraries import FILMS, versions_of
from pipelines.jobs.models import Artifact, JobError, Plan, Unit

if TYPE_CHECKING:
    from pipelines.jobs.workbench import Finished, Workbench

COLLECTION = "collection:"  # what the source of an operation on a collection begins with


class FreshParams(BaseModel):
    """The parameter of every operation that may take over what an earlier job finished."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fresh: bool = Field(False, description="Do all of it anew: take over nothing that an earlier job finished.")


class CommonParams(FreshParams):
    """Parameters of every operation that writes files."""

    output: str | None = Field(
        None,
        description="Where the result goes: a file or a folder, on disk or in object storage. "
        "Default: kept with the job, as artifacts.",
    )
    overwrite: bool = Field(False, description="Replace the output if it exists.")


@dataclass(frozen=True)
class Made:
    """A finished file in scratch, and the name it gets, which may have folders: ``2019/beach-720w.jpg``.

    One of the job's ``own`` is kept with it, whatever the parameter ``output`` says.
    """

    path: Path
    name: str
    media_type: str
    own: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a join hands over: the result, and the files to publish."""

    result: BaseModel
    made: Sequence[Made] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Each:
    """What came of one of many sources: a result, or what was wrong with it; or a ``plan``, where it takes long.

    The names of what was ``made`` are what follows the source's: ``-720w.jpg``, or ``/0001.jpg`` in a folder of it.
    """

    source: str
    result: Mapping[str, Any] | None = None
    error: JobError | None = None
    made: Sequence[Made] = ()
    plan: Plan | None = None


@dataclass(frozen=True)
class Operation:
    """An operation: what it takes, how it is cut into units, and what joins them.

    ``plan`` runs in the interactive lane, ``run`` once per unit, ``join`` when all units are done. All three get a
    Workbench, which calls media functions in the child. ``run`` returns the unit's manifest; one whose attribute
    ``lasting`` is False isn't kept for other jobs. ``join`` may return a plan
    of what to do instead, where what the units made can't be joined: once. A unit of it that has the name of one of the
    first plan's is done already. ``output`` tells whether the parameter ``output`` names a file or a folder (one that
    ends as ``packs`` say is an archive instead), and
    ``suffix`` the extension of the file for given parameters. ``many``: it takes any number of sources, and folders;
    else what ``sources`` names, in that order; a ``collection`` is named as ``collection:NAME``. ``kinds`` are those of
    a collection's files that it is done with, and ``each`` tells what finished units of ``many`` made of each source.
    Media processes of one that ``runs_programs`` may run the ffmpeg program, those of others none.
    ``interactive`` operations are planned at once, even behind a long queue. ``told`` picks what of the result a person
    is shown when the job is done; all of it, where there is none.
    ``cached``: the result of a job that made no files is kept in the cache, as what. Not of one that looks for damage:
    bytes that rot leave no note in the file system.
    What collections keep of it is of one ``engine``: of these versions of its ``libraries``, and of a ``revision`` that
    is to be raised when its own code comes to other results of the same file. Not of a build, as caches are: a library
    of films isn't gone through again for a release that words something otherwise.
    """

    name: str
    summary: str
    params: type[BaseModel]
    result: type[BaseModel]
    plan: Callable[["Workbench"], Plan]
    run: Callable[["Workbench", Unit], BaseModel]
    join: Callable[["Workbench", Mapping[str, Any]], Outcome | Plan]
    many: bool = False
    each: Callable[[Mapping[str, "Finished"]], Iterator[Each]] | None = None
    sources: Sequence[str] = ("source",)
    kinds: frozenset[str] = frozenset({"video"})
    output: Literal["none", "file", "folder"] = "none"
    packs: frozenset[str] = frozenset()
    interactive: bool = False
    runs_programs: bool = False
    suffix: Callable[[Any, Mapping[str, Any]], str] | None = None
    told: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    cached: Literal["metadata", "analysis"] | None = None
    libraries: Sequence[str] = FILMS
    revision: int = 1
    examples: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    @property
    def engine(self) -> str:
        return " ".join((str(self.revision), *versions_of(self.libraries)))

    def fills(self, output: Location) -> bool:
        """Whether that is a folder which files are put into."""
        return self.output == "folder" and output.suffix.lower() not in self.packs

    @property
    def on_collection(self) -> bool:
        """Whether its source is a collection instead of files."""
        return tuple(self.sources) == ("collection",)


class Catalogue:
    """Operations by name."""

    def __init__(self, operations: Mapping[str, Operation], modules: Mapping[str, str]) -> None:
        self._operations = dict(operations)
        self._modules = dict(modules)

    @classmethod
    def load(cls, modules: Sequence[str]) -> "Catalogue":
        """Import each module and take its ``OPERATION``."""
        operations, origins = {}, {}
        for module in modules:
            operation = importlib.import_module(module).OPERATION
            if operation.name in operations:
                raise ValueError(f"two operations are named {operation.name}")
            operations[operation.name], origins[operation.name] = operation, module
        return cls(operations, origins)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._operations.values())

    def only(self) -> Operation:
        """The one operation of a catalogue that holds one."""
        (operation,) = self._operations.values()
        return operation

    def __contains__(self, name: str) -> bool:
        return name in self._operations

    def __getitem__(self, name: str) -> Operation:
        return self._operations[name]

    def names(self) -> list[str]:
        return sorted(self._operations)

    def module_of(self, name: str) -> str:
        return self._modules[name]


def operation_modules(package: str) -> list[str]:
    """The modules of a package of operations, by name."""
    found = importlib.import_module(package)
    return sorted(f"{package}.{each.name}" for each in pkgutil.iter_modules(found.__path__))


def check_made(made: Sequence[Made], scratch: Path, after: str = "") -> None:
    """Refuse files that lie elsewhere than in a folder of ``scratch``, or whose names, ``after`` this, lead elsewhere.

    What a media process tells is taken for a wish of whoever made the media.

    Raises:
        ChildCrashedError: such a process isn't in its senses.
    """
    there = scratch.resolve()
    for each in made:
        name = PurePosixPath(after + each.name)
        sound = bool(name.parts) and not name.is_absolute() and ".." not in name.parts and "\0" not in each.name
        if not (sound and each.path.parent.resolve().is_relative_to(there) and _is_file(each.path)):
            raise ChildCrashedError("the media process told of files that it can't have made")


def _is_file(path: Path) -> bool:
    """Whether a file is there itself, no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def artifact_of(made: Made, target: Location) -> Artifact:
    """The record of a finished file that goes to ``target``."""
    return Artifact(name=made.name, path=str(target), size_bytes=made.path.stat().st_size, media_type=made.media_type)
