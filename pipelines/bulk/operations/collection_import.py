"""``collection-import``: files and folders become rows of a collection; what hasn't changed isn't read again."""

import time
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from cluster.errors import StorageError
from cluster.object_paths import is_object_uri
from cluster.sources import open_source
from pipelines.bulk.choosing import once
from pipelines.bulk.collection import FILES, Collection, CollectionName
from pipelines.bulk.driving import ATTEMPTS, RUN, driven, earlier_tries, have_all_done, of_tries
from pipelines.bulk.facts import is_same_but_device, time_of
from pipelines.bulk.importing import Looked, seen_in
from pipelines.bulk.scanning import Seen
from pipelines.bulk.streaming import CODE, ROWS, STATE, THROUGH_RAY, Batching, BatchManifest, Runner
from pipelines.bulk.tables import AT, Table
from pipelines.bulk.watch_notes import note_imported
from pipelines.jobs.catalogue import Operation, Outcome
from pipelines.jobs.models import Needs, Plan, Unit
from pipelines.jobs.workbench import Finished, Workbench

_INTO = "into"  # in a batch's payload
_KNOWN = ("uri", "path", "root", "kind", "identity", "stamp", "state")
_HELD = "held_stamp"  # in a batch's row, beside what it held by ``identity``
_BATCH = 256
_NEEDS = Needs(cpus=1, max_cpus=1, seconds=2.0, memory_bytes=64 << 20)
_UNREADABLE = "unreadable"
_TRIES = pa.schema(
    {
        "uri": pa.string(),
        STATE: pa.string(),
        CODE: pa.string(),
        ATTEMPTS: pa.int32(),
        AT: pa.timestamp("us", tz="UTC"),
    }
)
Kind = Literal["video", "audio", "image", "other"]


class Params(BaseModel):
    """Which collection, and which files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    into: CollectionName = Field(description="The collection's name; it is made if there is none.")
    kinds: tuple[Kind, ...] = Field(
        ("video", "audio", "image"), min_length=1, description="Which kinds of files, told by their names."
    )


class ImportResult(BaseModel, frozen=True, extra="forbid"):
    """``files`` the sources hold: ``new`` ones, ``changed`` ones that can be read, the others known and unchanged.

    ``missing`` ones, of the same kinds, were in the same folders before. ``unreadable`` are files and folders, each a
    row with its reason.
    """

    collection: str
    files: int
    new: int
    changed: int
    missing: int
    unreadable: int
    size_bytes: int
    kinds: dict[str, int]
    elapsed_s: float


def plan(bench: Workbench) -> Plan:
    collection = Collection.named(bench.home, bench.params.into)
    return driven({"collection": collection.name, "sources": len(bench.sources)})


def run(bench: Workbench, unit: Unit, runner: Runner = THROUGH_RAY) -> BaseModel:
    if unit.name != RUN:
        return _identify(bench, unit)
    collection = Collection.named(bench.home, bench.params.into)
    with collection.alone("files", bench.driver.job_id):
        result = _import(bench, collection, runner)
        note_imported(collection, bench.sources, bench.params.kinds)
        return result


def _import(bench: Workbench, collection: Collection, runner: Runner) -> ImportResult:
    began = time.monotonic()
    kinds = frozenset(bench.params.kinds)
    # As this driver finds them, and as the job's first one did, by which is told what came of the job.
    known = _by_uri(collection.files.read(_KNOWN))
    before = _by_uri(once(bench.notes / "before.parquet", lambda: collection.files.read(_KNOWN)))
    found: dict[str, Seen] = {}
    for each in seen_in(bench, collection, kinds):
        if each.uri not in found or each.problem is not None:  # sources may overlap
            found[each.uri] = _at_home(each, known.get(each.uri))
    seen = list(found.values())
    readable = [each for each in seen if each.problem is None]
    wanted = [each for each in readable if not _is_known(before.get(each.uri), each)]
    through, tried = earlier_tries(_tries(bench).read(of_tries("uri")), "uri", _UNREADABLE)
    todo = [each for each in readable if each.uri not in through and not _is_known(known.get(each.uri), each)]
    problems = [
        {**_row(each, state=_UNREADABLE, code="source_unreadable", message=each.problem), **_held(known.get(each.uri))}
        for each in seen
        if each.problem
    ]
    looked = Looked.of(bench.sources, seen, kinds)
    if todo:
        batching = Batching(collection.files, "uri", _BATCH, _NEEDS, _UNREADABLE, {_INTO: collection.name})
        have_all_done(bench, _listed(todo, known), batching, runner, tried)
    changes = [*problems, *_missing(collection, _gone(known, found, looked)), *_remounted(collection, known, seen)]
    if changes:
        collection.files.append(f"changes-{bench.driver.job_id}", pa.Table.from_pylist(changes, FILES))
    collection.files.compact()
    states = collection.files.read(("uri", "state"))
    unreadable = {*states.filter(pc.equal(states["state"], _UNREADABLE))["uri"].to_pylist()}
    return ImportResult(
        collection=collection.name,
        files=len(seen) - len(problems),
        new=sum(each.uri not in before for each in wanted),
        changed=sum(each.uri in before and each.uri not in unreadable for each in wanted),
        missing=len(_gone(before, found, looked)),
        unreadable=len(unreadable & found.keys()),
        size_bytes=sum(each.size_bytes for each in seen),
        kinds=dict(Counter(each.kind for each in readable)),
        elapsed_s=round(time.monotonic() - began, 3),
    )


def _by_uri(rows: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["uri"]: row for row in rows.to_pylist()}


def _gone(rows: Mapping[str, Mapping[str, Any]], found: Container[str], looked: Looked) -> list[str]:
    """The files of ``rows`` that aren't there any more, and weren't told to be missing."""
    return [
        uri for uri, row in rows.items() if uri not in found and row["state"] != "missing" and looked.would_find(row)
    ]


def _tries(bench: Workbench) -> Table:
    """Which files this job couldn't read, and how often it tried: a driver that follows a killed one goes on there."""
    return Table(bench.notes / "tries", _TRIES, "uri")


def _at_home(seen: Seen, row: Mapping[str, Any] | None) -> Seen:
    """With the root that it has, and its path there, if that is the wider folder."""
    if row is None or not (f"{seen.root}/".startswith(f"{row['root']}/") and seen.uri.startswith(f"{row['root']}/")):
        return seen
    return replace(seen, root=row["root"], path=row["path"])


def _held(row: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a file held that can't be read now: what was made of it is no orphan, for it may be well."""
    return {name: row[name] if row else None for name in ("identity", "stamp")}


def _listed(seen: Sequence[Seen], known: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    """The rows of batches; where one fails as a whole, rows of the collection are made of them."""
    held = [_held(known.get(each.uri)) for each in seen]
    columns = {field.name: [getattr(each, field.name) for each in seen] for field in fields(Seen)}
    columns |= {"identity": [each["identity"] for each in held], _HELD: [each["stamp"] for each in held]}
    return pa.table(columns)


def _missing(collection: Collection, gone: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of files that aren't there any more."""
    if not gone:
        return []
    rows = collection.files.read()
    at = datetime.now(UTC)
    return [
        {**row, "state": "missing", AT: at} for row in rows.filter(pc.is_in(rows["uri"], pa.array(gone))).to_pylist()
    ]


def _remounted(
    collection: Collection, known: Mapping[str, Mapping[str, Any]], seen: Sequence[Seen]
) -> list[dict[str, Any]]:
    """The rows of files that are as they were, on a disk that has another number by now; with that."""
    there = [each for each in seen if _is_known(known.get(each.uri), each)]
    stamps = {each.uri: each.stamp for each in there if known[each.uri]["stamp"] != each.stamp}
    if not stamps:
        return []
    rows = collection.files.read()
    rows = rows.filter(pc.is_in(rows["uri"], pa.array([*stamps], pa.string())))
    return [{**row, "stamp": stamps[row["uri"]], AT: datetime.now(UTC)} for row in rows.to_pylist()]


def _is_known(row: Mapping[str, Any] | None, seen: Seen) -> bool:
    if row is None or row["state"] != "present" or seen.stamp is None or row["stamp"] is None:
        return False
    return bool(row["stamp"] == seen.stamp) or (
        not is_object_uri(seen.uri) and is_same_but_device(row["stamp"], seen.stamp)
    )


def _identify(bench: Workbench, unit: Unit) -> BatchManifest:
    """Read what tells each file's content from any other, and put the rows into the collection."""
    collection = Collection.named(bench.home, unit.payload[_INTO])
    place = bench.reading(collection.folder)
    rows = [_identified(place, *_seen_and_held(row)) for row in unit.payload[ROWS]]
    collection.files.append(unit.name, pa.Table.from_pylist(rows, FILES))
    if failed := [{**row, ATTEMPTS: unit.payload[ATTEMPTS]} for row in rows if row["state"] == _UNREADABLE]:
        _tries(bench).append(unit.name, pa.Table.from_pylist(failed, _TRIES))
    return BatchManifest(rows=len(rows))


def _seen_and_held(row: Mapping[str, Any]) -> tuple[Seen, Mapping[str, Any]]:
    seen = Seen(**{name: value for name, value in row.items() if name not in ("identity", _HELD)})
    return seen, {"identity": row["identity"], "stamp": row[_HELD]}


def _identified(bench: Workbench, seen: Seen, held: Mapping[str, Any]) -> dict[str, Any]:
    """All facts are of the moment when it is read: since it was seen it may have grown."""
    try:
        with open_source(seen.uri, bench.roots) as opened:
            stamped, identity, is_other = opened.listed_stamp(), opened.identity(), opened.is_other()
    except StorageError as error:
        row = _row(seen, state=_UNREADABLE, code=error.code, message=error.message)
        return row if error.code == "source_empty" else {**row, **held}  # an empty one is read: it holds nothing
    now = replace(seen, size_bytes=opened.size_bytes, modified_ns=opened.modified_ns)
    still = stamped.settled and not is_other  # else it is read again the next time
    return {
        **_row(now, state="present"),
        "identity": identity.digest,
        "stamp": stamped.digest if still else None,
    }


def _row(seen: Seen, *, state: str, code: str | None = None, message: str | None = None) -> dict[str, Any]:
    return {
        "uri": seen.uri,
        "path": seen.path,
        "root": seen.root,
        "size_bytes": seen.size_bytes,
        "modified_at": time_of(seen.modified_ns),
        "kind": seen.kind,
        "state": state,
        "code": code,
        "message": message,
        AT: datetime.now(UTC),
    }


def join(_bench: Workbench, units: Mapping[str, Finished]) -> Outcome:
    result = ImportResult.model_validate(units[RUN].manifest)
    told = f"Files and folders that can't be read: {result.unreadable}. The collection's rows tell why."
    return Outcome(result, warnings=(told,) if result.unreadable else ())


OPERATION = Operation(
    name="collection-import",
    summary="Take files, folders, archives and what manifests name into a collection: a catalogue that is kept, and "
    "read again only where it changed.",
    params=Params,
    result=ImportResult,
    plan=plan,
    run=run,
    join=join,
    many=True,
    interactive=True,
    examples=({"sources": ["/photos"], "params": {"into": "photos"}},),
)
