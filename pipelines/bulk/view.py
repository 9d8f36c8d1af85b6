"""The one view of a collection: a row for each file, with what is known of it and what every task came to.

Made with DuckDB over Arrow tables, in memory. What may be asked is checked before (`pipelines.bulk.conditions`); beside
that the connection reaches no files and no network, its configuration is locked, and memory and time are limited.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from pipelines.bulk.collection import FILES, RESULTS, Collection
from pipelines.bulk.conditions import check_columns, check_condition, check_order, explained
from pipelines.bulk.tables import AT
from pipelines.bulk.tasks import Task
from pipelines.bulk.technical import DOCUMENTS, PARTS, TECHNICAL
from pipelines.jobs.errors import InvalidError

if TYPE_CHECKING:
    pass

_KEPT = tuple(name for name in FILES.names if name != "stamp")
OWN = tuple("imported_at" if name == AT else name for name in _KEPT)
_TOLD = ("state", "code", "message", "attempts", AT, "result", "artifacts")  # of each task, after its prefix
_RESULT = "result"
_MEMORY, _THREADS = "512MB", 2
_LIMIT_S = 30.0
_ROWS = 2048  # of a batch


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
        order = [self.order_by] if self.order_by is not None else []
        order += [] if grouped and order else ["ALL" if grouped else "uri"]
        parts.append("ORDER BY " + "\n, ".join(order))
        if limit is not None:
            parts.append(f"LIMIT {limit} OFFSET {offset}")
        return "\n".join(parts)

    @property
    def text(self) -> str:
        return " ".join(part for part in (self.where, self.columns, self.order_by) if part)


class CollectionView:
    """A collection as it is when this is opened. Of results only those are loaded that ``asked``, a text, may need."""

    def __init__(self, collection: Collection, asked: str = "*") -> None:
        import duckdb  # slow to load, and needed only where something is asked for

        self.tasks = task_prefixes(collection)
        self._asked = asked.lower()
        self._connection = duckdb.connect(":memory:", config={"memory_limit": _MEMORY, "threads": _THREADS})
        self._connection.register("own_files", collection.files.read(_KEPT).rename_columns(OWN))
        for prefix, task in self.tasks.items():
            self._connection.register(f"results_of_{prefix}", self._results(collection, prefix, task))
        self._connection.execute(_view(self.tasks))
        for name, value in _LOCKED.items():
            self._connection.execute(f"SET {name} = {value}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def batches(self, query: Query) -> Iterator[pa.RecordBatch]:
        """All rows that are asked for; the first batch is there even if it has none.

        Raises:
            InvalidError: the query names what isn't there or can't be worked out, or takes too long or too much.
        """
        with self._limited():
            reader = self._connection.sql(query.sql()).to_arrow_reader(_ROWS)
            yield pa.RecordBatch.from_pylist([], schema=reader.schema)
            yield from reader

    def rows(self, query: Query, *, limit: int, offset: int = 0) -> list[dict[str, Any]]:
        """Some of the rows. Raises InvalidError, as ``batches`` does."""
        found: list[dict[str, Any]] = self.told(query.sql(limit=limit, offset=offset)).to_pylist()
        return found

    def keep(self, name: str, statement: str) -> None:
        """Work out a statement of this program's own once; what comes of it is a table for others."""
        with self._limited():
            self._connection.execute(f"CREATE TEMP TABLE {name} AS {statement}")

    def told(self, statement: str) -> pa.Table:
        """What comes of a statement of this program's own."""
        with self._limited():
            return self._connection.sql(statement).to_arrow_table()

    @contextmanager
    def _limited(self) -> Iterator[None]:
        import duckdb

        limit = threading.Timer(_LIMIT_S, self._connection.interrupt)
        limit.start()
        try:
            yield
        except duckdb.InterruptException as error:
            raise InvalidError(f"The query takes longer than {_LIMIT_S:g} s.", "query_too_large") from error
        except duckdb.OutOfMemoryException as error:
            raise InvalidError(f"The query takes more memory than {_MEMORY}.", "query_too_large") from error
        except duckdb.Error as error:
            raise InvalidError(f"The query can't be answered: {explained(str(error))}") from error
        finally:
            limit.cancel()

    def _results(self, collection: Collection, prefix: str, task: Task) -> pa.Table:
        if self._may_need(prefix, task):
            return collection.results(task).read()
        rows = collection.results(task).read([name for name in RESULTS.names if name != _RESULT])
        return rows.append_column(_RESULT, pa.nulls(len(rows), pa.string()))

    def _may_need(self, prefix: str, task: Task) -> bool:
        """Whether what is asked for may be told by a task's results: a column that is named is in the text."""
        if "*" in self._asked or f"{prefix}_{_RESULT}" in self._asked:
            return True
        told = {name for name, places in DOCUMENTS.items() if task.operation in dict(places)}
        if "media" in told:
            told |= PARTS.keys()
        return any(each.name in self._asked and told & {document for document, _ in each.places} for each in TECHNICAL)


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


def selected(collection: Collection, where: str) -> pa.Array:
    """The identities of the files that meet a condition. Raises InvalidError."""
    query = Query(where, columns="identity")
    with CollectionView(collection, query.text) as view:
        return view.told(query.sql())["identity"].combine_chunks()


_LOCKED = {
    "TimeZone": "'UTC'",
    "temp_directory": "''",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "enable_external_access": "false",
    "lock_configuration": "true",
}


def _view(tasks: Mapping[str, Task]) -> str:
    own = [f"own_files.{name}" for name in OWN]
    told = [f'results_of_{prefix}."{name}" AS {prefix}_{name}' for prefix in tasks for name in _TOLD]
    joins = [f"LEFT JOIN results_of_{prefix} ON results_of_{prefix}.identity = own_files.identity" for prefix in tasks]
    documents = [f"{_document(tasks, places)} AS {name}" for name, places in DOCUMENTS.items()]
    parts = [f"{sql} AS {name}" for name, sql in PARTS.items()]
    shown = [f"{prefix}_{name}" for prefix in tasks for name in _TOLD]
    technical = [f"{each.sql} AS {each.name}" for each in TECHNICAL]
    return (
        f"CREATE VIEW files AS SELECT {', '.join((*OWN, *technical, *shown))} "  # noqa: S608 of names that are ours
        f"FROM (SELECT *, {', '.join(parts)} "
        f"FROM (SELECT {', '.join((*own, *told, *documents))} FROM own_files {' '.join(joins)}))"
    )


def _document(tasks: Mapping[str, Task], places: tuple[tuple[str, str], ...]) -> str:
    told = [
        f"CASE WHEN json_valid(results_of_{name}.result) THEN json_extract(results_of_{name}.result, '{path}') END"
        for name, path in ((operation.replace("-", "_"), path) for operation, path in places)
        if name in tasks
    ]
    return f"coalesce({', '.join(told)})" if told else "NULL::JSON"
