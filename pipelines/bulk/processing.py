"""The driver's side of a task on a collection's files: has it done with the contents that it wasn't done with yet."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from cluster.errors import ChildError, StorageError
from cluster.object_paths import is_object_uri
from pipelines.bulk.choosing import Began, noted_once, once
from pipelines.bulk.collection import RESULTS, Collection
from pipelines.bulk.driving import ATTEMPTS, MOST_ATTEMPTS, earlier_tries, have_all_done
from pipelines.bulk.file_batches import (
    COLLECTION,
    OF_PLACE,
    OVERWRITE,
    TASK,
    outdated_outputs,
    output_folder_of,
    place_faults,
)
from pipelines.bulk.long_plans import LongPlans
from pipelines.bulk.name_template import names_by
from pipelines.bulk.naming import stable_names
from pipelines.bulk.pace import LONG_S, SIZE, batch_size
from pipelines.bulk.streaming import THROUGH_RAY, Batching, Runner
from pipelines.bulk.tables import AT, Table, newest
from pipelines.bulk.task_outputs import artifacts_of
from pipelines.bulk.tasks import Task
from pipelines.jobs.catalogue import Made
from pipelines.jobs.inline import seconds_of
from pipelines.jobs.models import Needs
from pipelines.jobs.scratch import note_staging
from pipelines.jobs.workbench import Workbench

FAILED = "failed.jsonl"
_SAMPLES = 3
_CHILD_BYTES = 256 << 20
_COLUMNS = ("uri", "path", "identity", "stamp", SIZE)


class Processed(BaseModel, frozen=True, extra="forbid"):
    """What came of a task. Of ``files`` some were ``known``: done with before; with others it was ``done`` now.

    With ``failed`` ones it can't be done, now or before; ``given_up`` of them were tried three times. Of
    ``place_faults`` among them the content is at no fault, but the place: they can't be opened, changed since they were
    imported, or what is made of them can't be written. They are tried anew by the next job. ``made`` are the files that
    there are now of all.
    """

    task: str
    files: int
    done: int
    known: int
    failed: int
    given_up: int
    place_faults: int
    made: int
    made_bytes: int
    codes: dict[str, int]
    elapsed_s: float


def process(
    bench: Workbench,
    collection: Collection,
    task: Task,
    *,
    overwrite: bool,
    fresh: bool,
    again: bool,
    among: pa.Array | None = None,
    runner: Runner = THROUGH_RAY,
) -> Processed:
    """Do ``task`` with each file of its kinds. ``again``: with those, too, that failed before.

    ``among``: only with files of these contents.

    Raises:
        StorageError: ``collection_busy``, ``disk_full``.
        UnitDroppedError: this driver was taken away.
    """
    began, bench = time.monotonic(), bench.reading(collection.folder)  # what was unpacked lies there
    with collection.alone(task.key, bench.driver.job_id):
        known = _of_kinds(collection, task)
        files = _selected(known)
        if among is not None:
            files = files.filter(pc.is_in(files["identity"], among))
        table, aside = collection.results(task), place_faults(bench, task)
        outcomes = _of(files, table.read(("identity", "state", AT)))
        before = _before(bench.notes / f"{task.key}.json", outcomes, again=again, fresh=fresh)
        earlier = outcomes.filter(pc.invert(_since(outcomes, before.at)))
        left_alone = earlier.filter(_left_alone(earlier, again=again, fresh=fresh))["identity"].to_pylist()
        through, tried = earlier_tries(_with_place_faults(table, aside), "identity", "failed", before.at)
        todo = files.filter(pc.invert(pc.is_in(files["identity"], pa.array([*left_alone, *through], pa.string()))))
        outdated = once(outdated_outputs(bench, task), lambda: _outdated(collection, task))
        if len(todo):
            names = _names(collection, task, known)
            named = todo.append_column("name", pa.array([names.get(uri, "") for uri in todo["uri"].to_pylist()]))
            _have_done(bench, collection, task, named, tried, overwrite=overwrite, runner=runner)
        _forget_replaced(table, outdated)  # with nothing to do, too: a driver before this one may have done it all
        outcomes = _of(files, _with_place_faults(table, aside))
    failed = outcomes.filter(pc.equal(outcomes["state"], "failed"))
    artifacts = pc.list_flatten(outcomes["artifacts"])
    return Processed(
        task=task.key,
        files=len(files),
        done=_count(outcomes, "done") - before.done,
        known=before.known,
        failed=len(failed),
        given_up=len(failed.filter(pc.greater_equal(failed[ATTEMPTS], MOST_ATTEMPTS))),
        place_faults=pc.sum(failed[OF_PLACE]).as_py() or 0,
        made=len(artifacts),
        made_bytes=pc.sum(pc.struct_field(artifacts, "size_bytes")).as_py() or 0,
        codes=dict(Counter(failed["code"].to_pylist()).most_common()),
        elapsed_s=round(time.monotonic() - began, 3),
    )


def _names(collection: Collection, task: Task, files: pa.Table) -> dict[str, str]:
    """What the names of the files begin with that are made of each, by its URI; none where the content names them.

    A row that was dropped meanwhile is named as without a template: that its file is gone is told in its place.
    """
    if task.output is None:
        return {}
    keys = is_object_uri(task.output)
    names = names_by(task.template, collection, keys=keys) if task.template is not None else {}
    rows = files.select(["uri", "path", "identity"]).to_pylist()
    return {**names, **stable_names([row for row in rows if row["uri"] not in names], keys=keys)}


def _have_done(
    bench: Workbench,
    collection: Collection,
    task: Task,
    files: pa.Table,
    tried: Mapping[str, int],
    *,
    overwrite: bool,
    runner: Runner,
) -> None:
    """Have all of ``files`` done, and leave nothing half-published. Some were ``tried`` by an earlier driver."""
    size, needs = _batches(bench, task, files)
    common = {TASK: task.model_dump(), COLLECTION: collection.name, OVERWRITE: overwrite}
    output = output_folder_of(bench, collection, task, overwrite=overwrite)
    folders = output.folders(files["name"].to_pylist(), files["identity"].to_pylist())
    note_staging(bench.notes, folders)  # should the job end before its batches do
    output.sweep(folders)  # of an earlier driver's batches
    table, aside = collection.results(task), place_faults(bench, task)
    plans = LongPlans.of(bench)
    batching = Batching(table, "identity", size, needs, "failed", common, aside, plans)
    have_all_done(bench, files, batching, runner, tried)
    output.sweep(folders)


def _outdated(collection: Collection, task: Task) -> pa.Table:
    """The files that jobs put into a folder of somebody's choice, of contents that no file has any more."""
    if task.output is None:
        return artifacts_of(RESULTS.empty_table())
    outcomes = collection.results(task).read(("identity", "artifacts", AT))
    held = collection.files.read(("identity",))["identity"].combine_chunks()
    return artifacts_of(outcomes.filter(pc.invert(pc.is_in(outcomes["identity"], held))))


def _forget_replaced(table: Table, outdated: pa.Table) -> None:
    """Pack a task's results, but those whose files are others' now: should their contents return, all is made anew."""
    replaced = outdated
    if len(outdated):
        made = artifacts_of(table.read(("identity", "artifacts", AT)))
        made = made.filter(pc.invert(pc.is_in(made["identity"], outdated["identity"].combine_chunks())))
        replaced = outdated.filter(pc.is_in(outdated["path"], made["path"].combine_chunks()))
    if len(replaced):
        table.drop(replaced["identity"].combine_chunks(), datetime.now(UTC))
    else:
        table.compact()


def _since(outcomes: pa.Table, at: datetime) -> pa.ChunkedArray:
    return pc.greater_equal(outcomes[AT], pa.scalar(at, RESULTS.field(AT).type))


def _with_place_faults(table: Table, aside: Table) -> pa.Table:
    """Of each content what came of it last, and whether it was the place."""
    columns = ("identity", "state", "code", ATTEMPTS, "artifacts", AT)
    parts = [(table.read(columns), False), (aside.read(columns), True)]
    return newest(
        [rows.append_column(OF_PLACE, pa.repeat(of_place, len(rows))) for rows, of_place in parts], "identity"
    )


class _Before(Began):
    """What there was when the job began, ``at``: ``known`` outcomes that it leaves alone, some of them ``done``."""

    known: int
    done: int


def _before(note: Path, outcomes: pa.Table, *, again: bool, fresh: bool) -> _Before:
    """As the job's first driver noted it: this one may be a later one."""

    def told() -> _Before:
        known = outcomes.filter(_left_alone(outcomes, again=again, fresh=fresh))
        return _Before(at=datetime.now(UTC), known=len(known), done=_count(known, "done"))

    return noted_once(note, _Before, told)


def _left_alone(outcomes: pa.Table, *, again: bool, fresh: bool) -> pa.ChunkedArray:
    """Which outcomes of earlier jobs stay as they are."""
    if fresh:
        return pc.not_equal(outcomes["state"], outcomes["state"])
    return pc.equal(outcomes["state"], "done") if again else pc.is_valid(outcomes["state"])


def _of(files: pa.Table, outcomes: pa.Table) -> pa.Table:
    return outcomes.filter(pc.is_in(outcomes["identity"], files["identity"]))


def _count(outcomes: pa.Table, state: str) -> int:
    return len(outcomes.filter(pc.equal(outcomes["state"], state)))


def _of_kinds(collection: Collection, task: Task) -> pa.Table:
    """The files of the operation's kinds, those that are missing, too."""
    files = collection.files.read((*_COLUMNS, "kind", "state"))
    return files.filter(pc.is_in(files["kind"], pa.array(sorted(task.declared.kinds))))


def _selected(known: pa.Table) -> pa.Table:
    """Of these files those that are there, each content once."""
    files = known.filter(pc.equal(known["state"], "present")).select(list(_COLUMNS)).combine_chunks()
    files = files.take(pc.sort_indices(files["uri"]))
    codes = files["identity"].combine_chunks().dictionary_encode().indices.to_numpy()
    return files.take(pa.array(np.sort(np.unique(codes, return_index=True)[1])))


def _batches(bench: Workbench, task: Task, rows: pa.Table) -> tuple[int, Needs]:
    """How many files make a batch of some seconds, and what it claims: told by plans of some of them."""
    params = task.checked_params()
    seconds, memory_bytes = [], [0]
    for at in {len(rows) * part // _SAMPLES for part in range(_SAMPLES)}:
        source = rows["uri"][at].as_py()
        try:
            plan = task.declared.plan(bench.of(params, (source,), bench.scratch / f"plan-{at}", {}, 1.0))
        except (ChildError, StorageError):  # it's told in its place
            continue
        seconds.append(max(0.001, seconds_of(plan)))
        memory_bytes += [unit.needs.memory_bytes for unit in plan.units]
    each_s = sum(seconds) / len(seconds) if seconds else 0.1
    size = batch_size(each_s)
    return size, Needs(
        cpus=1, max_cpus=1, seconds=max(1.0, size * min(each_s, LONG_S)), memory_bytes=max(_CHILD_BYTES, *memory_bytes)
    )


def failed_report(bench: Workbench, rows: Iterable[Mapping[str, Any]]) -> Made:
    """A file of the job's own that tells of failures."""
    report = bench.scratch / FAILED
    report.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return Made(report, FAILED, "application/jsonl", own=True)


def failures(bench: Workbench, collection: Collection, task: Task, among: pa.Array | None) -> Sequence[dict[str, Any]]:
    """The files that a task can't be done with, or this job couldn't do it with, and why.

    ``among``: only those that the task is of there, by ``Task.of``.
    """
    columns = ("identity", "state", "code", "message", ATTEMPTS, AT)
    outcomes = newest([collection.results(task).read(columns), place_faults(bench, task).read(columns)], "identity")
    failed = outcomes.filter(pc.equal(outcomes["state"], "failed")).drop(["state", AT])
    files = collection.files.read(("identity", "uri", "state"))
    files = files.filter(pc.equal(files["state"], "present")).drop(["state"])
    if among is not None:
        files = files.filter(pc.is_in(files[task.of], among))
    joined: list[dict[str, Any]] = files.join(failed, task.of, "identity", join_type="inner").sort_by("uri").to_pylist()
    return joined
