"""Side-cars of a collection's files: found by their names, read in batches, and kept as the results of a task.

Of ``film.mkv`` they are ``film.nfo``, ``film.json``, the same after its whole name, and the rows of ``metadata.csv`` in
its folder and those above, up to the one that was imported. What is nearer counts more.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from cluster.child import MAX_EACH
from cluster.identity import listed_stamp_of
from pipelines.bulk.choosing import began
from pipelines.bulk.collection import RESULTS, Collection
from pipelines.bulk.driving import ATTEMPTS, earlier_tries, have_all_done, of_tries
from pipelines.bulk.streaming import ROWS, THROUGH_RAY, Batching, BatchManifest, Runner
from pipelines.bulk.tables import AT
from pipelines.bulk.tasks import Task
from pipelines.jobs.models import JobError, Needs, Unit
from pipelines.jobs.workbench import Workbench
from pipelines.media.collecting.collecting_spec import Sidecar, Value
from pipelines.media.info import MediaInfo

Prefer = Literal["sidecar", "file"]
INTO, PREFER = "into", "prefer"  # in a batch's payload
_TABLE, _SUFFIXES = "metadata.csv", (".nfo", ".json")
_READ, _PROBE = "pipelines.media.collecting.sidecars:read_sidecar", "pipelines.media.probing.probe:probe"
_FILE = "file"  # the origin of a field that the file itself has
_BATCH = 256
_ROWS_HELD = 1024  # of the files, as objects, of which there may be a million
_NEEDS = Needs(cpus=1, max_cpus=1, seconds=2.0, memory_bytes=256 << 20)


class SidecarsRead(BaseModel, frozen=True, extra="forbid"):
    """Of ``files`` that have side-cars, or a table above them, this job read some (``done``); others are ``known``.

    ``failed``: none of a file's can be read. ``gone``: files that have none any more.
    """

    task: str
    files: int
    done: int
    known: int
    failed: int
    gone: int
    elapsed_s: float


def sidecar_task(prefer: Prefer) -> Task:
    """What the results are kept under; each has ``fields``, and in ``origins`` where each of them is from."""
    return Task(operation="sidecar", params={PREFER: prefer} if prefer != "sidecar" else {})


def read_sidecars(
    bench: Workbench,
    collection: Collection,
    prefer: Prefer,
    *,
    fresh: bool,
    among: pa.Array | None = None,
    runner: Runner = THROUGH_RAY,
) -> SidecarsRead:
    """Read the side-cars that changed since they were read. ``among``: only those of the files with these URIs.

    Raises:
        StorageError: ``collection_busy``.
        UnitDroppedError: this driver was taken away.
    """
    start_s = time.monotonic()
    task = sidecar_task(prefer)
    with collection.alone(task.key, bench.driver.job_id):
        table = collection.results(task)
        known = {row["identity"]: _stamp_in(row["result"]) for row in table.read(("identity", "result")).to_pylist()}
        files = collection.files.read(("uri", "root", "identity", "kind", "state"))
        told_of = pa.array(list(known), pa.string())
        forgotten = told_of.filter(pc.invert(pc.is_in(told_of, files["uri"].combine_chunks())))
        there = pc.and_(pc.equal(files["state"], "present"), pc.not_equal(files["kind"], "other"))
        if among is not None:
            there = pc.and_(there, pc.is_in(files["uri"], among))
        files = files.select(["uri", "root", "identity", "kind"]).filter(there).sort_by("uri")
        found = list(_found(row for some in files.to_batches(_ROWS_HELD) for row in some.to_pylist()))
        through, tried = earlier_tries(table.read(of_tries("identity")), "identity", "failed", began(bench, task.key))
        todo = [
            row
            for row in found
            if row["identity"] in tried
            or (row["identity"] not in through and (fresh or known.get(row["identity"]) != row["stamp"]))
        ]
        with_some = {row["identity"] for row in found}
        gone = _among(files, [each for each, stamp in known.items() if stamp and each not in with_some])
        if gone:
            rows = [_row(identity, {"fields": {}, "origins": {}, "problems": [], "stamp": ""}) for identity in gone]
            table.append(f"gone-{bench.driver.job_id}", pa.Table.from_pylist(rows, RESULTS))
        if todo:
            common = {INTO: collection.name, PREFER: prefer}
            batching = Batching(table, "identity", _BATCH, _NEEDS, "failed", common)
            have_all_done(bench, pa.Table.from_pylist(todo), batching, runner, tried)
        if len(forgotten):  # of files that were renamed, or went
            table.drop(forgotten, datetime.now(UTC))
        elif todo or gone:
            table.compact()
        states = table.read(("identity", "state"))
    done = {row["identity"] for row in todo} | (through & with_some)  # by an earlier driver of this job
    failed = states.filter(pc.equal(states["state"], "failed"))["identity"].to_pylist()
    return SidecarsRead(
        task=task.key,
        files=len(found),
        done=len(done),
        known=len(found) - len(done),
        failed=len(with_some & set(failed)),
        gone=len(gone) + len(_among(files, [*(through - with_some)])),
        elapsed_s=round(time.monotonic() - start_s, 3),
    )


def _among(files: pa.Table, uris: Sequence[str]) -> list[str]:
    """Those that are some of the files."""
    asked = pa.array(uris, pa.string())
    there: list[str] = asked.filter(pc.is_in(asked, files["uri"].combine_chunks())).to_pylist()
    return there


def _stamp_in(result: str | None) -> str:
    told: str = json.loads(result)["stamp"] if result else ""
    return told


def _found(files: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The files that have side-cars, told apart by their URIs; ``sidecars`` in the order in which they are to count."""
    listings: dict[str, dict[str, tuple[str, str]]] = {}
    for file in files:
        folder, name = os.path.split(file["uri"])
        beside = [f"{before}{suffix}" for before in (os.path.splitext(name)[0], name) for suffix in _SUFFIXES]  # noqa: PTH122 a Path of each of many thousands takes as long as its stat
        found = [_listed(above, listings).get(_TABLE) for above in _folders(folder, file["root"])]
        found += [_listed(folder, listings).get(each.lower()) for each in beside]
        sidecars = [each for each in found if each is not None and each[0] != file["uri"]]
        if sidecars:
            paths, stamps = zip(*sidecars, strict=True)
            stamped = (f"{path}:{stamp}" for path, stamp in zip(paths, stamps, strict=True))
            stamp = ";".join((file["identity"] or "", *stamped))  # the file's own tags are merged with theirs
            yield {
                "identity": file["uri"],
                "uri": file["uri"],
                "kind": file["kind"],
                "sidecars": [*paths],
                "stamp": stamp,
            }


def _folders(folder: str, root: str) -> list[str]:
    """From the one that was imported down to ``folder``."""
    folders = [folder]
    while folder != root and folder.startswith(f"{root}/"):
        folder = os.path.dirname(folder)  # noqa: PTH120
        folders.insert(0, folder)
    return folders


def _listed(folder: str, listings: dict[str, dict[str, tuple[str, str]]]) -> dict[str, tuple[str, str]]:
    """What may be side-cars in a folder, by name in small letters: path and stamp. Kept in ``listings``."""
    if folder not in listings:
        listings[folder] = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = entry.name.lower()
                    if (name == _TABLE or name.endswith(_SUFFIXES)) and entry.is_file():
                        listings[folder][name] = (entry.path, listed_stamp_of(entry.stat()).digest)
        except OSError:  # its import tells of it
            pass
    return listings[folder]


def do_sidecar_batch(bench: Workbench, unit: Unit) -> BatchManifest:
    """Read the side-cars of a batch's files, and put their fields into the collection."""
    payload = unit.payload
    collection, files = Collection.named(bench.home, payload[INTO]), payload[ROWS]
    bench = bench.reading(collection.folder)  # what was unpacked lies there
    told = _told(bench, files)
    films = [row["uri"] for row in files if row["kind"] in ("video", "audio")]
    infos = dict(zip(films, _each(bench, _PROBE, MediaInfo, films, [{}] * len(films)), strict=True))
    rows = []
    for file in files:
        info = infos.get(file["uri"])
        own = {name.lower(): value for name, value in info.tags.items()} if isinstance(info, MediaInfo) else {}
        rows.append({**_outcome(file, own, told, payload[PREFER]), ATTEMPTS: payload[ATTEMPTS]})
    table = collection.results(sidecar_task(payload[PREFER]))
    table.append(unit.name, pa.Table.from_pylist(rows, RESULTS))
    return BatchManifest(rows=len(rows))


def _told(bench: Workbench, files: Sequence[Mapping[str, Any]]) -> dict[str, Sidecar | JobError]:
    """What each side-car of these files tells; of tables only their rows."""
    wanted: dict[str, list[str]] = {}
    for file in files:
        for path in file["sidecars"]:
            wanted.setdefault(path, []).append(_name_in(path, file["uri"]))
    each = [{"wanted": names} for names in wanted.values()]
    return dict(zip(wanted, _each(bench, _READ, Sidecar, list(wanted), each), strict=True))


def _each(bench: Workbench, function: str, model: type[Any], sources: list[str], each: list[Any]) -> list[Any]:
    """``call_each`` of any number."""
    made: list[Any] = []
    for begin in range(0, len(sources), MAX_EACH):
        part = slice(begin, begin + MAX_EACH)
        made += bench.call_each(function, model, sources[part], each[part])
    return made


def _name_in(sidecar: str, uri: str) -> str:
    """How a side-car names a file: a table by its path below, others not at all."""
    return os.path.relpath(uri, os.path.dirname(sidecar)) if sidecar.lower().endswith(_TABLE) else ""  # noqa: PTH120


def _outcome(
    file: Mapping[str, Any], own: Mapping[str, Value], told: Mapping[str, Sidecar | JobError], prefer: Prefer
) -> dict[str, Any]:
    layers: list[tuple[str, Mapping[str, Value]]] = []
    problems: list[JobError] = []
    for path in file["sidecars"]:
        sidecar = told[path]
        if isinstance(sidecar, JobError):
            problems.append(sidecar)
        else:
            layers.append((os.path.basename(path), sidecar.fields.get(_name_in(path, file["uri"]), {})))  # noqa: PTH119
    ordered = [(_FILE, own), *layers] if prefer == "sidecar" else [*layers, (_FILE, own)]
    origins = {name: origin for origin, fields in ordered for name in fields}
    fields = {name: value for _, each in ordered for name, value in each.items()}
    if not any(each for _, each in layers):  # a table that doesn't name it, or nothing that can be read
        fields, origins = {}, {}
    result = {
        "fields": fields,
        "origins": origins,
        "problems": [problem.message for problem in problems],
        "stamp": file["stamp"],
    }
    failed = problems[0] if problems and not layers else None
    return _row(file["identity"], result, failed)


def _row(identity: str, result: Mapping[str, Any], failed: JobError | None = None) -> dict[str, Any]:
    told = {"code": failed.code, "message": failed.message} if failed else {}
    told |= {"identity": identity, "state": "failed" if failed else "done", "result": json.dumps(result)}
    return {**told, "artifacts": [], AT: datetime.now(UTC)}
