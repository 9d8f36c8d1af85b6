"""Calls of a media function on many sources at once, of which one that ends the child costs no other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from cluster.child import MediaChild
from cluster.errors import ChildCrashedError, ChildFailedError, ChildLimitError
from cluster.sources import OpenSource
from pipelines.jobs.errors import job_error
from pipelines.jobs.models import JobError
from pipelines.jobs.place_faults import place_error, place_fault

T = TypeVar("T", bound=BaseModel)

SLOW_BYTES_PER_S = 10e6  # of a network share: whatever else is done, the source is read


@dataclass(frozen=True)
class Calls(Generic[T]):
    """What is called: ``function`` with the arguments ``each`` has by its number, and ``common`` ones.

    ``limit_s`` is for all of them together, and for as slow a share as there may be more.
    """

    child: MediaChild
    function: str
    result: type[T]
    each: Sequence[Mapping[str, Any]]
    common: Mapping[str, Any]
    limit_s: float
    on_progress: Callable[[dict[str, Any]], None] | None

    def made_of(self, opened: Mapping[int, OpenSource], *, threads: int) -> dict[int, T | JobError]:
        """What comes of each source that is open, by its number: what was made, or what went wrong with it.

        Raises:
            ChildFailedError: no space is left.
        """
        made = self._made_of(opened, threads=threads)
        if threads > 1:  # those beside it may have taken the memory
            for number in [number for number, one in made.items() if _wants_more(one)]:
                made |= self._made_of({number: opened[number]}, threads=1)
        return made

    def _made_of(
        self, opened: Mapping[int, OpenSource], *, threads: int, again: bool = False, settled: int = 0
    ) -> dict[int, T | JobError]:
        if not opened:
            return {}
        try:
            outcomes = self.child.call_each(
                self.function,
                self.common,
                [{"source": one.for_child(), **self.each[number]} for number, one in opened.items()],
                self.result,
                threads=threads,
                limit_s=len(opened) / len(self.each) * self.limit_s
                + sum(one.size_bytes for one in opened.values()) / SLOW_BYTES_PER_S,
                on_progress=lambda progress: self._tell_part(progress, settled, len(opened), len(self.each)),
            )
        except (ChildCrashedError, ChildLimitError) as error:
            if len(opened) == 1 and (again or isinstance(error, ChildLimitError)):
                return {number: job_error(error) for number in opened}
            if len(opened) == 1:  # it may have been killed from outside, or by too little memory for all at once
                return self._made_of(opened, threads=1, again=True, settled=settled)
            half = len(opened) // 2
            first, second = dict(list(opened.items())[:half]), dict(list(opened.items())[half:])
            made = self._made_of(first, threads=threads, settled=settled)
            return made | self._made_of(second, threads=threads, settled=settled + half)
        return {
            number: self._told(outcome, one) for (number, one), outcome in zip(opened.items(), outcomes, strict=True)
        }

    def _tell_part(self, progress: dict[str, Any], settled: int, part: int, whole: int) -> None:
        """Progress within a part of what was to be done: what is done again doesn't count twice."""
        if self.on_progress:
            self.on_progress({**progress, "fraction": (settled + progress["fraction"] * part) / whole})

    def _told(self, outcome: T | ChildFailedError, opened: OpenSource) -> T | JobError:
        if isinstance(outcome, ChildFailedError) and outcome.code == "disk_full":
            raise outcome
        if fault := place_fault(opened):
            return place_error(fault)
        return job_error(outcome) if isinstance(outcome, ChildFailedError) else outcome


def _wants_more(made: BaseModel) -> bool:
    return isinstance(made, JobError) and made.code == "limit_exceeded"
