"""``/v1/collections``: what there is, rows by a query, exports, and removal; in threads, a few at a time.

Exports may take minutes, so they wait for each other only.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from pipelines.bulk.collection import Collection, all_collections
from pipelines.bulk.conditions import MOST_CHARACTERS
from pipelines.bulk.row_formats import MEDIA_TYPES, Format, plain_rows, write_rows
from pipelines.bulk.upkeep import Summary, remove, summary
from pipelines.bulk.view import CollectionView, page
from pipelines.bulk.view import Query as Asked
from pipelines.bulk.watch_notes import WatchSummary, begin_watch, end_watch
from pipelines.jobs.asking import Asking
from pipelines.jobs.catalogue import COLLECTION
from pipelines.jobs.errors import ConflictError
from pipelines.jobs.models import Job, State
from pipelines.jobs.service import JobService
from pipelines.jobs.states import TERMINAL
from serve.guard import owner_of

T = TypeVar("T")

_AT_ONCE, _EXPORTS_AT_ONCE = 2, 2
_LIMIT_S = 10.0  # of somebody who waits, for what tells of a folder
_JOBS_AT_ONCE = 500
_CHUNK_BYTES = 1 << 20
_COLUMNS = (
    "uri, path, kind, size_bytes, modified_at, state, code, format, duration_s, width, height, video_codec, "
    "audio_codec, quality_score"
)
_Text = Annotated[str | None, Field(max_length=MOST_CHARACTERS)]


class Selection(BaseModel, extra="forbid"):
    """Which rows, in SQL over the collection's columns."""

    where: _Text = Field(None, description="A condition: kind = 'video' AND height < 720")
    columns: _Text = Field(None, description="What is told of each: path, size_bytes; or * for all of it.")
    order_by: _Text = Field(None, description="What rows are sorted by: size_bytes DESC. Else by URI.")

    def asked(self, columns: str) -> Asked:
        return Asked(self.where or None, self.columns or columns, self.order_by or None)


class RowsRequest(Selection):
    limit: int = Field(100, ge=1, le=1000)
    cursor: str = Field("0", pattern=r"^\d{1,9}$", description="The next_cursor of the page before.")


class RowPage(BaseModel):
    rows: list[dict[str, Any]]
    next_cursor: str | None


class CollectionList(BaseModel):
    collections: list[Summary]


def collections(jobs: JobService, home: Path) -> APIRouter:
    """The routes, for the collections below ``home``."""
    router = APIRouter(tags=["collections"])
    queries, exports = asyncio.Semaphore(_AT_ONCE), asyncio.Semaphore(_EXPORTS_AT_ONCE)
    folders = Asking("folders")  # whoever looks at one on a share that hangs takes no turn of others

    async def in_turn(function: Callable[..., T], *arguments: Any, turns: asyncio.Semaphore = queries) -> T:
        async with turns:
            return await asyncio.to_thread(function, *arguments)

    @router.get("/collections")
    async def list_collections() -> CollectionList:
        """Collections by name: how many files of which kinds, and how many each task is done with."""
        return CollectionList(collections=await in_turn(lambda: [summary(each) for each in all_collections(home)]))

    @router.get("/collections/{name}")
    async def get_collection(name: str) -> Summary:
        return await in_turn(lambda: summary(Collection.of_source(home, name)))

    @router.delete("/collections/{name}", status_code=204)
    async def remove_collection(name: str) -> Response:
        """Forget a collection, and remove the artifacts kept with it. Its files stay where they are."""
        collection = Collection.of_source(home, name)
        if (job := await _job_on(jobs, name)) is not None:
            raise ConflictError(f"Job {job.id} ({job.operation}) is at {name}. Cancel it first.", "job_active")
        await in_turn(remove, collection, home)
        return Response(status_code=204)

    @router.put("/collections/{name}/watch")
    async def watch_collection(name: str, request: Request) -> WatchSummary:
        """Import what changes below the folders that were imported, while a server runs; and now, what did before."""
        collection = Collection.of_source(home, name)
        begin = partial(begin_watch, collection, owner_of(request))
        return await folders.ask(begin, f"The storage of a folder of {name}", _LIMIT_S)

    @router.delete("/collections/{name}/watch", status_code=204)
    async def unwatch_collection(name: str) -> Response:
        """Watch the collection's folders no more. An import that is under way goes on."""
        await in_turn(end_watch, Collection.of_source(home, name))
        return Response(status_code=204)

    @router.get("/collections/{name}/files")
    async def list_files(name: str, query: Annotated[RowsRequest, Query()]) -> RowPage:
        """Rows, one for each file. A later page is of the collection as it is then."""
        return await in_turn(_page, Collection.of_source(home, name), query)

    @router.get("/collections/{name}/files.{format_}", response_class=StreamingResponse)
    async def export_files(name: str, format_: Format, query: Annotated[Selection, Query()]) -> StreamingResponse:
        """All rows as a file: Parquet, CSV or JSON lines."""
        collection = Collection.of_source(home, name)
        file = await in_turn(_exported, collection, format_, query.asked("*"), home / "scratch", turns=exports)
        headers = {
            "Content-Length": str(os.fstat(file.fileno()).st_size),
            "Content-Disposition": f'attachment; filename="{name}.{format_}"',
            "X-Content-Type-Options": "nosniff",
        }
        return StreamingResponse(_chunks(file), media_type=MEDIA_TYPES[format_], headers=headers)

    return router


async def _job_on(jobs: JobService, name: str) -> Job | None:
    """A job that isn't finished and reads or fills the collection."""
    for state in set(State) - TERMINAL:
        cursor: str | None = None
        while True:
            found, cursor = await jobs.page(state=state, operation=None, limit=_JOBS_AT_ONCE, cursor=cursor)
            for job in found:
                if f"{COLLECTION}{name}" in job.sources or job.params.get("into") == name:
                    return job
            if cursor is None:
                break
    return None


def _page(collection: Collection, request: RowsRequest) -> RowPage:
    asked, offset = request.asked(_COLUMNS), int(request.cursor)
    rows = plain_rows(page(collection, asked, limit=request.limit + 1, offset=offset))
    more = len(rows) > request.limit
    following = str(offset + request.limit) if more else None
    return RowPage(rows=rows[: request.limit], next_cursor=following)


def _exported(collection: Collection, format_: Format, asked: Asked, scratch: Path) -> IO[bytes]:
    """A file without a name, so that it's gone once it's sent, or whoever sends it is."""
    file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 whoever sends it closes it
    try:
        with CollectionView(collection, asked.text) as view:
            write_rows(format_, view.batches(asked), file)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
