"""Copies among a collection's files: the same bytes, the same picture, the same film; and which of them is the best."""

import json
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from pipelines.bulk.collection import Collection
from pipelines.bulk.likeness import distance_between, film_distance, nearer_than, stars
from pipelines.bulk.processing import process
from pipelines.bulk.streaming import THROUGH_RAY, Runner
from pipelines.bulk.tasks import Task, task_of
from pipelines.jobs.workbench import Workbench
from pipelines.media.images.info import ImageInfo

Kind = Literal["exact", "picture", "film"]
_ASPECT = 0.03  # by how much the shapes of two forms of a picture or film may differ
_DURATION, _LEAST_S = 0.01, 0.1  # and how long two forms of a film are: another frame rate ends a little later
_LEAST_FRAMES = 3  # of a film, that have to compare
_MORE_BITS = 2  # times as many may differ of the second hash, which is finer


class Copy(BaseModel, frozen=True, extra="forbid"):
    """A file of a group. ``distance`` is from the best: how many of 64 bits differ; 0 of the same bytes."""

    uri: str
    size_bytes: int
    modified_at: datetime
    width: int | None = None
    height: int | None = None
    score: float | None = None
    distance: float = 0

    @property
    def pixels(self) -> int:
        return (self.width or 0) * (self.height or 0)


class Group(BaseModel, frozen=True, extra="forbid"):
    """Copies, the best first; ``reason`` tells why it is. Without the others there are ``spare_bytes`` less."""

    kind: Kind
    best: str
    reason: str
    spare_bytes: int
    copies: tuple[Copy, ...]


class Look(BaseModel, frozen=True, extra="forbid"):
    """A file with what it looks like: pHash and dHash of a picture, or the pHashes of a film's frames.

    ``moving``: a picture that is an animation, of which the hashes are those of its first frame.
    """

    file: Copy
    hashes: tuple[str | None, ...]
    duration_s: float | None = None
    moving: bool = False


def tasks_of(kinds: Iterable[Kind]) -> dict[Kind, Task]:
    """What has to be done with the files first."""
    tasks: dict[Kind, Task] = {
        "exact": task_of("checksum", {}),
        "picture": task_of("image-analyze", {}),
        "film": task_of("fingerprint", {}),
    }
    return {kind: task for kind, task in tasks.items() if kind in set(kinds)}


def find_groups(
    bench: Workbench, collection: Collection, kinds: Sequence[Kind], distance: int, runner: Runner = THROUGH_RAY
) -> tuple[list[Group], int]:
    """Do with the files what has to be known of them, and find the groups; and how many files it can't be done with.

    Raises:
        StorageError: ``collection_busy``.
        UnitDroppedError: this driver was taken away.
    """
    tasks = tasks_of(kinds)
    unknown = 0
    for number, (kind, task) in enumerate(tasks.items()):
        among = of_same_size(collection) if kind == "exact" else None
        part = bench.part(number, len(tasks))
        done = process(part, collection, task, overwrite=False, fresh=False, again=False, among=among, runner=runner)
        unknown += done.failed
    return groups_of(collection, kinds, distance), unknown


def of_same_size(collection: Collection) -> pa.Array:
    """The contents of files that aren't the only ones of their size: only they can be the same."""
    files = _present(collection)
    counts = pc.value_counts(files["size_bytes"].combine_chunks())
    shared = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    return files.filter(pc.is_in(files["size_bytes"], shared))["identity"].combine_chunks().unique()


def groups_of(collection: Collection, kinds: Sequence[Kind], distance: int) -> list[Group]:
    """The groups, by what the ``tasks_of`` these kinds made of the files. At most ``distance`` bits differ.

    A file that has the same bytes as a better one is in no other group.
    """
    contents: defaultdict[str, list[Copy]] = defaultdict(list)
    for row in _present(collection).to_pylist():
        copy = Copy(uri=row["uri"], size_bytes=row["size_bytes"], modified_at=row["modified_at"])
        contents[row["identity"]].append(copy)
    tasks = tasks_of(kinds)
    groups = list(_exact(_results(collection, tasks["exact"]), contents)) if "exact" in tasks else []
    spare = {copy.uri for group in groups for copy in group.copies[1:]}
    if "picture" in tasks:
        looks = _picture_looks(_results(collection, tasks["picture"]), contents)
        groups += picture_groups(_ranked(looks, spare), distance)
    if "film" in tasks:
        looks = _film_looks(_results(collection, tasks["film"]), contents, _scores(collection))
        groups += film_groups(_ranked(looks, spare), distance)
    return groups


def _present(collection: Collection) -> pa.Table:
    files = collection.files.read(("uri", "identity", "size_bytes", "modified_at", "state"))
    return files.filter(pc.equal(files["state"], "present")).sort_by("uri")


def _results(collection: Collection, task: Task) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a task told of contents, one at a time."""
    outcomes = collection.results(task).read(("identity", "state", "result"))
    outcomes = outcomes.filter(pc.equal(outcomes["state"], "done"))
    for identity, result in zip(outcomes["identity"], outcomes["result"], strict=True):
        yield identity.as_py(), json.loads(result.as_py())


def _scores(collection: Collection) -> dict[str, float | None]:
    """The scores of films whose quality is known."""
    task = task_of("quality", {})
    known = any(each.key == task.key for each in collection.tasks())
    return {identity: told["score"] for identity, told in _results(collection, task)} if known else {}


def _exact(results: Iterable[tuple[str, dict[str, Any]]], contents: Mapping[str, Sequence[Copy]]) -> Iterator[Group]:
    same: defaultdict[str, list[Copy]] = defaultdict(list)
    for identity, told in results:
        same[told["blake3"]] += contents.get(identity, ())
    for found in same.values():
        if len(found) > 1:
            ordered = sorted(found, key=lambda copy: (copy.modified_at, len(copy.uri), copy.uri))
            yield _group("exact", ordered, "of the same bytes it is the oldest, or has the shortest path.")


def _picture_looks(
    results: Iterable[tuple[str, dict[str, Any]]], contents: Mapping[str, Sequence[Copy]]
) -> Iterator[Look]:
    for identity, told in results:
        blank = any(issue["code"] == "blank" for issue in told["issues"])  # it looks like every other one
        if identity in contents and not blank:
            source = ImageInfo.model_validate(told["source"])
            about = {"width": source.width, "height": source.height, "score": told["quality"]["score"]}
            copy = contents[identity][0].model_copy(update=about)
            yield Look(file=copy, hashes=(told["phash"], told["dhash"]), moving=source.is_moving)


def _film_looks(
    results: Iterable[tuple[str, dict[str, Any]]],
    contents: Mapping[str, Sequence[Copy]],
    scores: Mapping[str, float | None],
) -> Iterator[Look]:
    for identity, told in results:
        if identity in contents:
            about = {"width": told["width"], "height": told["height"], "score": scores.get(identity)}
            copy = contents[identity][0].model_copy(update=about)
            yield Look(file=copy, hashes=tuple(told["hashes"]), duration_s=told["duration_s"])


def _ranked(looks: Iterable[Look], spare: Container[str]) -> list[Look]:
    return sorted((look for look in looks if look.file.uri not in spare), key=lambda look: rank_key(look.file))


def rank_key(copy: Copy) -> tuple[float, float, int, str]:
    """To sort copies by, the best first: more pixels, then a higher score, then more bytes."""
    return -copy.pixels, -(copy.score or 0.0), -copy.size_bytes, copy.uri


def picture_groups(looks: Sequence[Look], distance: int) -> list[Group]:
    """Groups of pictures, given the best first: of one shape, and alike by both hashes."""

    def between(one: int, other: int) -> float | None:
        first, second = looks[one], looks[other]
        finer = distance_between(first.hashes[1], second.hashes[1])
        if finer > distance * _MORE_BITS or first.moving != second.moving or not _of_one_shape(first.file, second.file):
            return None
        return distance_between(first.hashes[0], second.hashes[0])

    near = nearer_than([look.hashes[0] for look in looks], distance)
    return _groups("picture", looks, stars(len(looks), near, between))


def film_groups(looks: Sequence[Look], distance: int) -> list[Group]:
    """Groups of films, given the best first: of one shape and length, alike at the same parts."""
    durations = np.array([look.duration_s or np.nan for look in looks])

    def near(place: int) -> Iterable[int]:
        apart = np.abs(durations[place + 1 :] - durations[place])
        found: list[int] = (np.flatnonzero(apart <= max(_LEAST_S, _DURATION * durations[place])) + place + 1).tolist()
        return found

    def between(one: int, other: int) -> float | None:
        first, second = looks[one], looks[other]
        told = film_distance(first.hashes, second.hashes, _LEAST_FRAMES)
        return told if told is not None and told <= distance and _of_one_shape(first.file, second.file) else None

    return _groups("film", looks, stars(len(looks), near, between))


def _of_one_shape(one: Copy, other: Copy) -> bool:
    shapes = [(each.width or 1) / (each.height or 1) for each in (one, other)]
    return max(shapes) / min(shapes) <= 1 + _ASPECT


def _groups(kind: Kind, looks: Sequence[Look], found: Mapping[int, Mapping[int, float]]) -> list[Group]:
    groups = []
    for best, others in found.items():
        copies = [looks[each].file.model_copy(update={"distance": told}) for each, told in others.items()]
        groups.append(_group(kind, [looks[best].file, *copies]))
    return groups


def _group(kind: Kind, copies: Sequence[Copy], reason: str | None = None) -> Group:
    best, *others = copies
    return Group(
        kind=kind,
        best=best.uri,
        reason=reason or why_better(best, min(others, key=rank_key)),
        spare_bytes=sum(copy.size_bytes for copy in others),
        copies=tuple(copies),
    )


def why_better(best: Copy, next_best: Copy) -> str:
    """Why one is better than another, as ``rank_key`` sees it."""
    if best.pixels != next_best.pixels:
        return f"{best.width}x{best.height} against {next_best.width}x{next_best.height}."
    if (best.score or 0.0) != (next_best.score or 0.0):
        told = "unknown" if next_best.score is None else f"{next_best.score:.1f}"
        return f"of the same size in pixels; its quality is {best.score or 0:.1f}, of the other {told}."
    if best.size_bytes != next_best.size_bytes:
        return f"alike in size and quality; {best.size_bytes} bytes against {next_best.size_bytes}."
    return "alike in all; the first by name."
