"""What an operation gets to work with: its parameters, sources, scratch, and the child that runs media functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from cluster.child import MediaChild, SourceDescriptor
from cluster.storage import Roots, local_path, open_source
from pipelines.media.profiles import Profile

T = TypeVar("T", bound=BaseModel)

MIN_LIMIT_S = 600.0
LIMIT_FACTOR = 30.0


@dataclass(frozen=True)
class Finished:
    """A finished unit: the folder with what it made, and its manifest."""

    folder: Path
    manifest: dict[str, Any]


class Workbench:
    """One unit's place of work. Media is touched only by ``call``, in the child."""

    def __init__(
        self,
        *,
        params: Any,
        sources: tuple[str, ...],
        scratch: Path,
        roots: Roots,
        child: MediaChild,
        cpus: int,
        estimate_s: float,
        profiles: Callable[[], Mapping[str, Profile]],
        on_progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.params = params
        self.sources = sources
        self.cpus = cpus
        self._scratch = scratch
        self._roots = roots
        self._child = child
        self._limit_s = max(MIN_LIMIT_S, LIMIT_FACTOR * estimate_s)
        self._profiles = profiles
        self._on_progress = on_progress

    @property
    def scratch(self) -> Path:
        """This unit's own folder, made on first use. It goes when the job ends."""
        self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._scratch

    @property
    def scratch_name(self) -> str:
        return self._scratch.name

    @property
    def source_stem(self) -> str:
        """The first source's name without its extension: what results are named after."""
        return local_path(self.sources[0]).stem

    def profiles(self) -> Mapping[str, Profile]:
        return self._profiles()

    def call(self, function: str, result: type[T], source: str, **arguments: Any) -> T:
        """Run a media function in the child on a source, which the child gets as an open descriptor."""
        with open_source(source, self._roots.read) as opened:
            return self._child.call(
                function,
                {"source": SourceDescriptor(opened.descriptor, opened.path.name), **arguments},
                result,
                limit_s=self._limit_s,
                on_progress=self._on_progress,
            )
