"""The one view of a collection: a row for each file, with what is known of it and what every task came to.

DuckDB runs the query over Arrow batches as they come, in memory. What may be asked is checked before
(`pipelines.bulk.conditions`); beside that the connection reaches no files and no network, its configuration is locked,
and memory and time are limited.
"""

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.bulk.collection import FILES, RESULTS, Collection
from pipelines.bulk.conditions import check_columns, check_condition, check_order, explained
from pipelines.bulk.tables import AT
from pipelines.bulk.tasks import Task
from pipelines.bulk.technical import DOCUMENTS, PARTS, TECHNICAL
from pipelines.jobs.errors import InvalidError

_KEPT = tuple(name for name in FILES.names if name != "stamp")
OWN = tuple("imported_at" if name == AT else name for name in _KEPT)
_TOLD = ("state", "code", "message", "attempts", AT, "result", "artifacts")  # of each task, after its prefix
_RESULT = "result"
_MEMORY = "512MB"
_LIMIT_S, _JOB_LIMIT_S = 30.0, 600.0  # while a caller waits, and where nobody does
_PLAIN = re.compile(r"\w+|\*")  # one column as it is, or all
_ALL = re.compile(r"\*|\bcolumns\b|\bfiles\b(?!\.)")  # columns that aren't named, or a whole row as a value
_AT_URI = "_uri"  # no column's name
_ROWS = 512  # of a batch: what each function makes of them is in memory at once
_LOCKED = {
    "threads": "1",  # so rows come out in the order in which they went in
    "TimeZone": "'UTC'",
    "temp_directory": "''",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "enable_external_access": "false",
    "lock_configuration": "true",
}


@dataclass(frozen=True)
class Query:
    """What is asked, in SQL. Rows that ``order_by`` leaves in no order, or all of them, come by URI.

    ``columns`` with counts or sums are of groups: those with the same values in the others.
    """

    where: str | None = None
    columns: str = "*"
    order_by: str | None = None

    def sql(self, *, limit: int | None = None, offset: int = 0) -> str:
        """The statement. Raises InvalidError where a part isn't harmless, or no SQL."""
        grouped = check_columns(self.columns)
        parts = [f"SELECT {self.columns}", "FROM files"]
        if self.where is not None:
            check_condition(self.where)
            parts.append(f"WHERE ({self.where}\n)")
        if grouped:
            parts.append("GROUP BY ALL")
        if self.order_by is not None:
            check_order(self.order_by)
            parts.append(f"ORDER BY {self.order_by}\n" + ("" if grouped else ", uri"))
        elif grouped:
            parts.append("ORDER BY ALL")
        if limit is not None:
            parts.append(f"LIMIT {limit} OFFSET {offset}")
        return "\n".join(parts)

    @property
    def text(self) -> str:
        return " ".join(part for part in (self.where, self.columns, self.order_by) if part)


class CollectionView:
    """A collection as it is when this is opened, for one statement; ``among``: only the files with these URIs.

    Of results those are loaded that ``asked``, a text, may need.
    """

    def __init__(self, collection: Collection, asked: str = "*", among: pa.Array | None = None) -> None:
        import duckdb  # slow to load, and needed only where something is asked for

        self.tasks = task_prefixes(collection)
        self._connection = duckdb.connect(":memory:", config={"memory_limit": _MEMORY})
        files = collection.files.read(_KEPT, among)
        results = {
            prefix: _results(
                collection,
                task,
                asked.lower(),
                prefix,
                None if among is None else files[task.of].drop_null().combine_chunks(),
            )
            for prefix, task in self.tasks.items()
        }
        self._connection.register("known", _batches(files, self.tasks, results))
        self._connection.execute(_view(self.tasks))
        for name, value in _LOCKED.items():
            self._connection.execute(f"SET {name} = {value}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def batches(self, query: Query) -> Iterator[pa.RecordBatch]:
        """All rows that are asked for; the first batch has none.

        Raises:
            InvalidError: the query names what isn't there or can't be worked out, or takes too long or too much.
        """
        with self._limited(_JOB_LIMIT_S):
            reader = self._connection.sql(query.sql()).to_arrow_reader(_ROWS)
            yield pa.RecordBatch.from_pylist([], schema=reader.schema)
            yield from reader

    def rows(self, query: Query, *, limit: int, offset: int = 0) -> pa.Table:
        """Some of the rows, for a caller who waits. Raises InvalidError, as ``batches`` does."""
        return self._told(query.sql(limit=limit, offset=offset), _LIMIT_S)

    def keep(self, name: str, statement: str) -> None:
        """Work out a statement of this program's own; what comes of it is a table for any number of others."""
        with self._limited(_JOB_LIMIT_S):
            self._connection.execute(f"CREATE TEMP TABLE {name} AS {statement}")

    def told(self, statement: str, *, waited_for: bool = False) -> pa.Table:
        """What comes of a statement of this program's own, for a job, or a caller who waits."""
        return self._told(statement, _LIMIT_S if waited_for else _JOB_LIMIT_S)

    def _told(self, statement: str, limit_s: float) -> pa.Table:
        with self._limited(limit_s):
            return self._connection.sql(statement).to_arrow_table()

    @contextmanager
    def _limited(self, limit_s: float) -> Iterator[None]:
        """An error that comes up while rows are read comes through Arrow: only its text tells what it is."""
        import duckdb

        limit = threading.Timer(limit_s, self._connection.interrupt)
        limit.start()
        try:
            yield
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            told = str(error)
            if "INTERRUPT" in told:
                raise InvalidError(f"The query takes longer than {limit_s:g} s.", "query_too_large") from error
            if "Out of Memory" in told:
                raise InvalidError(f"The query takes more memory than {_MEMORY}.", "query_too_large") from error
            raise InvalidError(f"The query can't be answered: {explained(told)}") from error
        finally:
            limit.cancel()


def page(collection: Collection, query: Query, *, limit: int, offset: int = 0) -> pa.Table:
    """Some of the rows that are asked for, for a caller who waits.

    Where columns are asked for as they are, it is found out first which files those are: then only their results are
    loaded, unless ``where`` or ``order_by`` are about results.

    Raises:
        InvalidError: as ``CollectionView.batches``.
    """
    if not all(_PLAIN.fullmatch(each.strip()) for each in query.columns.split(",")):
        with CollectionView(collection, query.text) as view:
            return view.rows(query, limit=limit, offset=offset)
    which = replace(query, columns="uri")
    with CollectionView(collection, which.text) as view:
        uris = view.rows(which, limit=limit, offset=offset)["uri"].combine_chunks()
    told = Query(columns=f"{query.columns}, uri AS {_AT_URI}")
    with CollectionView(collection, told.text, uris) as view:
        rows = view.rows(told, limit=limit)
    at = pc.index_in(uris, rows[_AT_URI].combine_chunks()).drop_null()  # without rows that are gone since
    return rows.take(at).drop_columns([_AT_URI])


def task_prefixes(collection: Collection) -> dict[str, Task]:
    """What the columns of each task begin with: its operation's name, of several that of the one that began last.

    The others' have a part of their digest after it: ``image_thumbnails``, ``image_thumbnails_3fa9c1``.
    """
    notes = {task.key: (task, collection.folder / "results" / task.key / "task.json") for task in collection.tasks()}
    there = [(note.stat().st_mtime_ns, task) for task, note in notes.values() if note.exists()]
    named: dict[str, Task] = {}
    for _, task in sorted(there, key=lambda each: each[0], reverse=True):
        name = re.sub(r"\W", "_", task.operation)
        named[name if name not in named else f"{name}_{task.key[-12:-6]}"] = task
    return named


def selected(collection: Collection, where: str, *, waited_for: bool = False) -> pa.Table:
    """``uri`` and ``identity`` of the files that meet a condition, for a job, or a caller who waits.

    Raises:
        InvalidError: it can't be answered.
    """
    query = Query(where, columns="uri, identity")
    with CollectionView(collection, query.text) as view:
        return view.told(query.sql(), waited_for=waited_for)


def _may_need(asked: str, prefix: str, task: Task) -> bool:
    """Whether what is asked for may be told by a task's results: a column that is named is in the text."""
    if _ALL.search(asked) or f"{prefix}_{_RESULT}" in asked:
        return True
    told = {name for name, places in DOCUMENTS.items() if task.operation in dict(places)}
    if "media" in told:
        told |= PARTS.keys()
    return any(each.name in asked and told & {document for document, _ in each.places} for each in TECHNICAL)


def _results(collection: Collection, task: Task, asked: str, prefix: str, among: pa.Array | None) -> pa.Table:
    """What may be needed of a task's results, of all or ``among`` these contents (or files, see ``Task.of``)."""
    table = collection.results(task)
    if _may_need(asked, prefix, task):
        return table.read(keys=among)
    if f"{prefix}_" not in asked:
        return RESULTS.empty_table()
    rows = table.read([name for name in RESULTS.names if name != _RESULT], among)
    return rows.append_column(_RESULT, pa.nulls(len(rows), pa.string()))


def _batches(files: pa.Table, tasks: Mapping[str, Task], results: Mapping[str, pa.Table]) -> pa.RecordBatchReader:
    """Files by URI, each with what tasks came to. Read once: what isn't read yet takes no room."""
    files = files.take(pc.sort_indices(files["uri"]))
    places = {
        prefix: pc.index_in(files[tasks[prefix].of].combine_chunks(), rows["identity"], skip_nulls=True)
        for prefix, rows in results.items()
    }
    told = {f"{prefix}_{name}": RESULTS.field(name).type for prefix in results for name in _TOLD}
    own = {shown: FILES.field(name).type for shown, name in zip(OWN, _KEPT, strict=True)}
    schema = pa.schema({**own, **told})

    def parts() -> Iterable[pa.RecordBatch]:
        for start in range(0, len(files), _ROWS):
            columns = files.slice(start, _ROWS).combine_chunks().columns
            for prefix, rows in results.items():
                columns += rows.select(_TOLD).take(places[prefix].slice(start, _ROWS)).combine_chunks().columns
            arrays = [column.combine_chunks() for column in columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, parts())


def _view(tasks: Mapping[str, Task]) -> str:
    documents = [f"{_document(tasks, places)} AS {name}" for name, places in DOCUMENTS.items()]
    parts = [f"{sql} AS {name}" for name, sql in PARTS.items()]
    shown = [f"{prefix}_{name}" for prefix in tasks for name in _TOLD]
    technical = [f"{each.sql} AS {each.name}" for each in TECHNICAL]
    return (
        f"CREATE VIEW files AS SELECT {', '.join((*OWN, *technical, *shown))} "  # noqa: S608 of names that are ours
        f"FROM (SELECT *, {', '.join(parts)} FROM (SELECT *, {', '.join(documents)} FROM known))"
    )


def _document(tasks: Mapping[str, Task], places: tuple[tuple[str, str], ...]) -> str:
    """What tells a document of a row first: of an operation's tasks, which may differ in what they tell, the newest."""
    told = [
        f"CASE WHEN json_valid({prefix}_{_RESULT}) THEN json_extract({prefix}_{_RESULT}, '{path}') END"
        for operation, path in places
        for prefix, task in tasks.items()
        if task.operation == operation
    ]
    return f"coalesce({', '.join(told)})" if told else "NULL::JSON"
