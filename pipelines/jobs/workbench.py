"""What an operation gets to work with: its parameters, sources, scratch, and the child that runs media functions."""

import contextlib
import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from cluster.child import MediaChild
from cluster.disk import file_system_of
from cluster.errors import ChildFailedError, StorageError
from cluster.fetched import SPARE_BYTES, held_bytes
from cluster.files import OpenFile, open_file
from cluster.identity import Identity
from cluster.locations import location_of
from cluster.object_paths import is_object_uri
from cluster.roots import Roots
from cluster.sources import OpenSource, open_source
from pipelines.jobs.calls_of_each import SLOW_BYTES_PER_S, Calls
from pipelines.jobs.driver import Driver
from pipelines.jobs.models import JobError, Unit
from pipelines.jobs.place_faults import changed, place_error, place_fault
from pipelines.jobs.room import check_room
from pipelines.media.profiles import Profile

if TYPE_CHECKING:
    from pipelines.jobs.warming import Warmer

T = TypeVar("T", bound=BaseModel)

MIN_LIMIT_S = 600.0
LIMIT_FACTOR = 30.0
_LONGEST_S = 14 * 86_400.0  # what a media process estimates is its own word


@dataclass(frozen=True)
class Finished:
    """A finished unit: the folder with what it made, its manifest, and its payload in the plan.

    ``reused``: an earlier job made it.
    """

    folder: Path
    manifest: dict[str, Any]
    payload: dict[str, Any]
    reused: bool = False


class Workbench:
    """One unit's place of work. Media is touched only by ``call``, in the child."""

    def __init__(
        self,
        *,
        params: Any,
        sources: tuple[str, ...],
        scratch: Path,
        notes: Path,
        roots: Roots,
        child: MediaChild,
        cpus: int,
        slots: int,
        shared: Mapping[str, Any],
        estimate_s: float,
        profiles: Callable[[], Mapping[str, Profile]],
        home: Path,
        driver: Driver,
        on_progress: Callable[[dict[str, Any]], None] | None = None,
        warmer: "Warmer | None" = None,
        manifests: Callable[[Sequence[str]], Mapping[str, Any]] | None = None,
    ) -> None:
        self.params = params
        self.sources = sources
        self.cpus = cpus
        self.slots = slots
        self.shared = shared
        self._scratch = scratch
        self._notes = notes
        self._roots = roots
        self._child = child
        self._limit_s = min(_LONGEST_S, max(MIN_LIMIT_S, LIMIT_FACTOR * estimate_s))
        self._profiles = profiles
        self._on_progress = on_progress
        self.home = home
        self.driver = driver
        self._warmer = warmer
        self._manifests = manifests
        self._held: Mapping[str, OpenFile] = {}
        self._used: dict[str, None] = {}
        self._keeps = True

    def of(
        self, params: Any, sources: Sequence[str], scratch: Path, shared: Mapping[str, Any], estimate_s: float
    ) -> "Workbench":
        """A place in this one, for another operation that is done here and now."""
        place = Workbench(
            params=params,
            sources=tuple(sources),
            scratch=scratch,
            notes=self._notes,
            roots=self._roots,
            child=self._child,
            cpus=self.cpus,
            slots=self.slots,
            shared=shared,
            estimate_s=estimate_s,
            profiles=self._profiles,
            home=self.home,
            driver=self.driver,
            warmer=self._warmer,
        )
        place._held, place._used, place._keeps = self._held, self._used, self._keeps
        return place

    def telling(self, place: "Workbench") -> "Workbench":
        """``place``, whose progress is this one's: it is all that is done here."""
        place._on_progress = self._on_progress
        return place

    @contextlib.contextmanager
    def holding(self, sources: Iterable[str]) -> Iterator["Workbench"]:
        """This place, with those of ``sources`` that are files open meanwhile: each is opened once.

        One that can't be opened is told when it is used. The child reads each from its start, whatever it read before.
        """
        place = copy.copy(self)
        with contextlib.ExitStack() as stack:
            held = {}
            for source in sources:
                if not is_object_uri(source):
                    with contextlib.suppress(StorageError):
                        held[source] = stack.enter_context(open_file(source, self._roots.read))
            place._held = held
            yield place

    def keeping_nothing(self) -> "Workbench":
        """This place, for work of which no other job takes anything over."""
        place = copy.copy(self)
        place._keeps = False
        return place

    @contextlib.contextmanager
    def opened(self, source: str) -> Iterator[OpenSource]:
        """A source, open for reading. Raises as ``open_source``."""
        if (held := self._held.get(source)) is not None:
            yield held
        else:
            with open_source(source, self._roots) as opened:
                yield opened

    def finished(self, units: Sequence[Unit], names: Sequence[str]) -> dict[str, Finished]:
        """Units of another operation's plan that were done under these names, as units of this job."""
        if self._manifests is None:
            raise ValueError("this place has no store")
        told = self._manifests(names)
        return {
            unit.name: Finished(
                self._scratch.parent / told[name]["folder"],
                told[name]["manifest"],
                unit.payload,
                bool(told[name]["reused"]),
            )
            for unit, name in zip(units, names, strict=True)
        }

    def part(self, number: int, count: int) -> "Workbench":
        """This place, for one of ``count`` equal parts of the work: what it reports is progress of the whole."""
        place, tell = copy.copy(self), self._on_progress
        if tell is not None:
            place._on_progress = lambda told: tell({**told, "fraction": (number + told["fraction"]) / count})
        return place

    def reading(self, folder: Path) -> "Workbench":
        """This place, which may read ``folder``, too."""
        place = copy.copy(self)
        place._roots = replace(self._roots, read=(*self._roots.read, folder))
        return place

    def tell(self, fraction: float) -> None:
        """Report progress, 0 to 1, of work that isn't the child's."""
        if self._on_progress:
            self._on_progress({"fraction": fraction})

    @property
    def scratch(self) -> Path:
        """This unit's own folder, made on first use. It goes when the job ends."""
        self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._scratch

    @property
    def notes(self) -> Path:
        """The job's folder of what its drivers note for those that follow. Media processes can't write there."""
        self._notes.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._notes

    @property
    def used_scratch(self) -> bool:
        return self._scratch.is_dir()

    @property
    def scratch_name(self) -> str:
        return self._scratch.name

    @property
    def source_stem(self) -> str:
        """The first source's name without its extension: what results are named after."""
        return location_of(self.sources[0]).stem

    def file_name(self, suffix: str) -> str:
        """Of the file that is made: that of the parameter ``output``, or the source's with another ``suffix``."""
        output = self.params.output
        return location_of(output).name if output else f"{self.source_stem}{suffix}"

    def identity(self, source: str) -> Identity:
        """What tells a source's content from any other's."""
        with self.opened(source) as opened:
            return opened.identity()

    def stamp(self, source: str) -> Identity:
        """What tells a file from any other, and from itself once it was changed, without reading it."""
        with self.opened(source) as opened:
            return opened.stamp()

    def listed_stamp(self, source: str) -> Identity:
        """A ``stamp`` as collections keep it."""
        with self.opened(source) as opened:
            return opened.listed_stamp()

    def settled_stamps(self, sources: Sequence[str]) -> tuple[str, ...] | None:
        """The stamps of ``sources``; None where one is missing, or may still be written."""
        try:
            stamps = [self.stamp(source) for source in sources]
        except StorageError:
            return None
        return tuple(stamp.digest for stamp in stamps) if all(stamp.settled for stamp in stamps) else None

    def content_key(self, sources: Sequence[str], *parts: str) -> str | None:
        """The address of what ``parts`` make of ``sources``.

        None where they have no ``settled_stamps``, and where nothing is kept.
        """
        stamps = self.settled_stamps(sources) if self._keeps else None
        return None if stamps is None else hashlib.sha256("\n".join((*parts, *stamps)).encode()).hexdigest()

    def contents_read(self) -> dict[str, str]:
        """Which content the files have that the child was given here, by their names; without those the plan tells.

        Raises:
            StorageError: as ``opened``, and ``source_unreadable``.
        """
        planned = self.shared.get("identities", {})
        files = (source for source in self._used if source not in planned and not is_object_uri(source))
        return {source: self.identity(source).digest for source in files}

    def size_bytes(self, source: str) -> int:
        with self.opened(source) as opened:
            return opened.size_bytes

    def check_space(self, scratch_bytes: int, output_bytes: int = 0, read_share: float = 1.0) -> None:
        """Refuse work that scratch, or the folder of the parameter ``output``, has no room for; object storage has.

        Of sources that are objects, ``read_share`` is fetched: all of that at once, whatever may be kept of others.

        Raises:
            StorageError: ``disk_full``.
        """
        needed = {self._scratch: scratch_bytes}
        output = getattr(self.params, "output", None)
        if output and isinstance(target := location_of(output), Path):
            linked_bytes = scratch_bytes if file_system_of(target.parent) == file_system_of(self._scratch) else 0
            needed[target.parent] = max(0, output_bytes - linked_bytes)
        if (objects := self._roots.objects) and any(map(is_object_uri, self.sources)):
            read_bytes = sum(self.size_bytes(each) for each in self.sources if is_object_uri(each)) * read_share
            needed[objects.fetched] = max(0, int(read_bytes) + SPARE_BYTES - held_bytes(objects.fetched))
        check_room(needed, scratch=self._scratch)

    def params_as(self, model: type[T]) -> T:
        """The parameters that ``model`` has: an operation's own, without those that all have."""
        return model.model_validate(self.params.model_dump(include=set(model.model_fields)))

    @property
    def warmer(self) -> "Warmer":
        """Fills the caches that the edge looks into."""
        if self._warmer is None:
            raise ValueError("this place has no caches")
        return self._warmer

    def profiles(self) -> Mapping[str, Profile]:
        return self._profiles()

    @property
    def roots(self) -> Roots:
        return self._roots

    @property
    def read_roots(self) -> tuple[Path, ...]:
        return self._roots.read

    @property
    def write_roots(self) -> tuple[Path, ...]:
        return self._roots.write

    def call(self, function: str, result: type[T], source: str, **arguments: Any) -> T:
        """Run a media function in the child on a source, which the child gets as an open descriptor.

        Raises:
            StorageError: ``source_changed``: it isn't what the job was planned for, or not any more; as
                ``open_source``, of an object also when the child has read some of it.
        """
        return self.call_with(function, result, {"source": source}, **arguments)

    def call_with(self, function: str, result: type[T], sources: Mapping[str, str], **arguments: Any) -> T:
        """``call`` a media function that takes several sources, by the names of its arguments."""
        with contextlib.ExitStack() as stack:
            opened = {name: stack.enter_context(self.opened(one)) for name, one in sources.items()}
            for name, source in sources.items():
                planned = self.shared.get("identities", {}).get(source)
                if planned is not None and opened[name].identity().digest != planned:
                    raise changed(opened[name])
            descriptors = {name: one.for_child() for name, one in opened.items()}
            size_bytes = sum(one.size_bytes for one in opened.values())
            self._used |= dict.fromkeys(sources.values())
            try:
                made = self._child.call(
                    function,
                    {**descriptors, **arguments},
                    result,
                    limit_s=self._limit_s + size_bytes / SLOW_BYTES_PER_S,
                    on_progress=self._on_progress,
                )
            except ChildFailedError as error:  # a file that is being written, or can't be had, looks damaged
                for fault in filter(None, map(place_fault, opened.values())):
                    raise fault from error
                raise
            for fault in filter(None, map(place_fault, opened.values())):
                raise fault
            return made

    def call_each(
        self,
        function: str,
        result: type[T],
        sources: Sequence[str],
        each: Sequence[Mapping[str, Any]],
        *,
        most_threads: int = 1,
        **common: Any,
    ) -> list[T | JobError]:
        """Run a media function on up to MAX_EACH sources, with arguments of ``each`` of them and ``common`` ones.

        What goes wrong with one stands in its place, as PlaceError where it couldn't be opened, or changed. One that
        ends the child, or takes for ever, is found by halving; one that ended it, or wanted more memory than was left,
        is tried once more by itself.

        Raises:
            ChildFailedError: no space is left.
        """
        made: dict[int, T | JobError] = {}
        self._used |= dict.fromkeys(sources)
        with contextlib.ExitStack() as stack:
            opened: dict[int, OpenSource] = {}
            for number, source in enumerate(sources):
                try:
                    opened[number] = stack.enter_context(self.opened(source))
                except StorageError as error:
                    made[number] = place_error(error)
            calls = Calls(self._child, function, result, each, common, self._limit_s, self._on_progress)
            made |= calls.made_of(opened, threads=min(max(1, self.cpus), most_threads))
        return [made[number] for number in range(len(sources))]
