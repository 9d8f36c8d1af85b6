"""Copies among a collection's files: the same bytes, the same picture, the same film; and which of them is the best."""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, Field

from cluster.identity import listed_stamp_of
from pipelines.bulk.collection import Collection, are_objects
from pipelines.bulk.digests import DIGESTED, digests, do_digest_batch
from pipelines.bulk.facts import facts_of, file_of, is_as_imported
from pipelines.bulk.file_batches import do_batch
from pipelines.bulk.likeness import distance_between, film_distance, nearer_than, stars
from pipelines.bulk.processing import process
from pipelines.bulk.streaming import THROUGH_RAY, Runner
from pipelines.bulk.tasks import Task, task_of
from pipelines.jobs.models import Unit
from pipelines.jobs.workbench import Workbench
from pipelines.media.images.info import ImageInfo

Kind = Literal["exact", "picture", "film"]
Digests = Mapping[tuple[str, str], str]
_ASPECT = 0.03  # by how much the shapes of two forms of a picture or film may differ
_DURATION, _LEAST_S = 0.01, 0.1  # and how long two forms of a film are: another frame rate ends a little later
_LEAST_FRAMES = 3  # of a film, that have to compare
_MORE_BITS = 2  # times as many may differ of the second hash, which is finer


class Copy(BaseModel, frozen=True, extra="forbid"):
    """A file of a group. ``distance`` is from the best: how many of 64 bits differ; 0 of the same bytes.

    ``stamp`` is what the file system noted of it when it was compared, ``file`` what all its names have in common.
    """

    uri: str
    size_bytes: int
    modified_at: datetime
    width: int | None = None
    height: int | None = None
    score: float | None = None
    distance: float = 0
    stamp: str | None = Field(None, exclude=True)
    file: str | None = Field(None, exclude=True)

    @property
    def pixels(self) -> int:
        return (self.width or 0) * (self.height or 0)


class Group(BaseModel, frozen=True, extra="forbid"):
    """Copies, the best first; ``reason`` tells why it is. Without the others there are ``spare_bytes`` less.

    No other name of the best's own file is among them; one of several names has its size counted once.
    """

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
    """What has to be done with the files first, each content once. For ``exact`` it is each file that is read."""
    tasks: dict[Kind, Task] = {"picture": task_of("image-analyze", {}), "film": task_of("fingerprint", {})}
    return {kind: task for kind, task in tasks.items() if kind in set(kinds)}


def find_groups(
    bench: Workbench,
    collection: Collection,
    kinds: Sequence[Kind],
    distance: int,
    runner: Runner = THROUGH_RAY,
    *,
    fresh: bool = False,
    folder: Path | None = None,
) -> tuple[list[Group], int]:
    """Do with the files what has to be known of them, and find the groups; and how many files it can't be done with.

    ``fresh``: no digest counts that an earlier job made; a disk that fails changes bytes, and nothing else.
    ``folder``: files of the same bytes are found only where one of them lies in it.

    Raises:
        StorageError: ``collection_busy``.
        UnitDroppedError: this driver was taken away.
    """
    tasks, parts = tasks_of(kinds), len(set(kinds))
    told: Digests = {}
    unknown = objects_among(collection, kinds)
    if "exact" in kinds:
        files = of_same_size(collection, folder)
        known = digests(bench.part(0, parts), collection, files, runner, fresh=fresh)
        told = {(uri, stamp): digest for (uri, stamp), digest in known.items() if uri in files}
        unknown += sum((uri, listed_stamp_of(facts).digest) not in told for uri, facts in files.items())
    on_disks = _on_disks(collection)["identity"].combine_chunks()
    for number, task in enumerate(tasks.values(), parts - len(tasks)):
        part = bench.part(number, parts)
        done = process(part, collection, task, overwrite=False, fresh=False, again=False, among=on_disks, runner=runner)
        unknown += done.failed
    return groups_of(collection, kinds, told, distance), unknown


def do_part(bench: Workbench, unit: Unit) -> BaseModel:
    """A batch of what ``find_groups`` has done."""
    return do_digest_batch(bench, unit) if DIGESTED in unit.payload else do_batch(bench, unit)


def objects_among(collection: Collection, kinds: Sequence[Kind]) -> int:
    """How many files would be compared, but lie in object storage: what is told of files tells nothing of them."""
    rows = collection.files.read(("uri", "kind", "state"))
    rows = rows.filter(pc.equal(rows["state"], "present"))
    compared = {kind for task in tasks_of(kinds).values() for kind in task.declared.kinds}
    rows = rows if "exact" in kinds else rows.filter(pc.is_in(rows["kind"], pa.array(sorted(compared), pa.string())))
    return pc.sum(are_objects(rows)).as_py() or 0


def of_same_size(collection: Collection, folder: Path | None = None) -> dict[str, os.stat_result]:
    """The files that aren't the only ones of their size: only they can be the same.

    ``folder``: of sizes that a file in it has.
    """
    there: dict[str, os.stat_result] = {}
    sizes: defaultdict[int, set[str]] = defaultdict(set)
    for row in _on_disks(collection).to_pylist():
        facts = facts_of(row["uri"])
        if facts is not None and is_as_imported(row, facts):
            there[row["uri"]] = facts
            sizes[facts.st_size].add(file_of(facts))
    asked = {facts.st_size for uri, facts in there.items() if folder is None or Path(uri).is_relative_to(folder)}
    same = {size for size in asked if len(sizes[size]) > 1}
    return {uri: facts for uri, facts in there.items() if facts.st_size in same}


def groups_of(collection: Collection, kinds: Sequence[Kind], told: Digests, distance: int) -> list[Group]:
    """The groups, by what the ``tasks_of`` these kinds made of the files, and their digests.

    At most ``distance`` bits differ.

    A file that has the same bytes as a better one is in no other group.
    """
    contents = _contents(collection)
    place_key = partial(_place_key, own=collection.folder)
    tasks = tasks_of(kinds)
    groups = list(_exact(told, contents, place_key)) if "exact" in kinds else []
    spare = {copy.uri for group in groups for copy in group.copies[1:]}
    files = {
        identity: min(others, key=place_key)
        for identity, copies in contents.items()
        if (others := [copy for copy in copies if copy.uri not in spare])
    }
    if "picture" in tasks:
        looks = _picture_looks(_results(collection, tasks["picture"]), files)
        groups += picture_groups(_ranked(looks), distance)
    if "film" in tasks:
        looks = _film_looks(_results(collection, tasks["film"]), files, _scores(collection))
        groups += film_groups(_ranked(looks), distance)
    return groups


def _contents(collection: Collection) -> Mapping[str, Sequence[Copy]]:
    """The files that are there, as they were imported, by their contents."""
    contents: defaultdict[str, list[Copy]] = defaultdict(list)
    for row in _on_disks(collection).to_pylist():
        facts = facts_of(row["uri"])
        if facts is not None and is_as_imported(row, facts):
            noted = {"stamp": listed_stamp_of(facts).digest, "file": file_of(facts)}
            copy = Copy(uri=row["uri"], size_bytes=facts.st_size, modified_at=row["modified_at"], **noted)
            contents[row["identity"]].append(copy)
    return contents


def _on_disks(collection: Collection) -> pa.Table:
    """The files that are there, but for objects."""
    files = collection.files.read(("uri", "identity", "stamp", "size_bytes", "modified_at", "state"))
    there = pc.and_(pc.equal(files["state"], "present"), pc.invert(are_objects(files)))
    return files.filter(there).sort_by("uri")


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


_PlaceKey = tuple[bool, bool, datetime, int, str]


def _exact(
    told: Digests, contents: Mapping[str, Sequence[Copy]], place_key: Callable[[Copy], _PlaceKey]
) -> Iterator[Group]:
    same: defaultdict[str, list[Copy]] = defaultdict(list)
    for copy in chain.from_iterable(contents.values()):
        digest = told.get((copy.uri, copy.stamp or ""))
        if digest is not None:
            same[digest].append(copy)
    for found in same.values():
        ordered = sorted(found, key=place_key) if len(found) > 1 else ()
        yield from _group("exact", ordered, "of the same bytes it is the oldest, or has the shortest path.")


def _place_key(copy: Copy, own: Path) -> _PlaceKey:
    """To sort copies of the same bytes by, the best first.

    What the collection keeps for itself, in its folder ``own``, goes with it; and a link is no file of its own.
    """
    path = Path(copy.uri)
    return path.is_relative_to(own), path.is_symlink(), copy.modified_at, len(copy.uri), copy.uri


def _picture_looks(results: Iterable[tuple[str, dict[str, Any]]], files: Mapping[str, Copy]) -> Iterator[Look]:
    for identity, told in results:
        blank = any(issue["code"] == "blank" for issue in told["issues"])  # it looks like every other one
        if identity in files and not blank:
            source = ImageInfo.model_validate(told["source"])
            about = {"width": source.width, "height": source.height, "score": told["quality"]["score"]}
            copy = files[identity].model_copy(update=about)
            yield Look(file=copy, hashes=(told["phash"], told["dhash"]), moving=source.is_moving)


def _film_looks(
    results: Iterable[tuple[str, dict[str, Any]]],
    files: Mapping[str, Copy],
    scores: Mapping[str, float | None],
) -> Iterator[Look]:
    for identity, told in results:
        if identity in files:
            about = {"width": told["width"], "height": told["height"], "score": scores.get(identity)}
            copy = files[identity].model_copy(update=about)
            yield Look(file=copy, hashes=tuple(told["hashes"]), duration_s=told["duration_s"])


def _ranked(looks: Iterable[Look]) -> list[Look]:
    return sorted(looks, key=lambda look: rank_key(look.file))


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
    groups: list[Group] = []
    for best, others in found.items():
        copies = [looks[each].file.model_copy(update={"distance": told}) for each, told in others.items()]
        groups += _group(kind, [looks[best].file, *copies])
    return groups


def _group(kind: Kind, copies: Sequence[Copy], reason: str | None = None) -> Iterator[Group]:
    """The group of these, the best first; none where they are all names of one file."""
    others = [copy for copy in copies[1:] if copy.file is None or copy.file != copies[0].file]
    if others:
        sizes = {copy.file or copy.uri: copy.size_bytes for copy in others}
        yield Group(
            kind=kind,
            best=copies[0].uri,
            reason=reason or why_better(copies[0], min(others, key=rank_key)),
            spare_bytes=sum(sizes.values()),
            copies=(copies[0], *others),
        )


def why_better(best: Copy, next_best: Copy) -> str:
    """Why one is better than another, as ``rank_key`` sees it."""
    if best.pixels != next_best.pixels:
        return f"{best.width}x{best.height} against {next_best.width}x{next_best.height}."
    if (best.score or 0.0) != (next_best.score or 0.0):
        told = "unknown" if next_best.score is None else f"{next_best.score:.1f}"
        return f"of the same size in pixels; its quality is {best.score or 0:.1f}, of the other {told}."
    known = best.score is not None and next_best.score is not None
    alike = "alike in size and quality" if known else "of the same size in pixels, and quality isn't known"
    if best.size_bytes != next_best.size_bytes:
        return f"{alike}; {best.size_bytes} bytes against {next_best.size_bytes}."
    return f"{'alike in all' if known else alike}; the first by name."
