"""What is written without jobs: a FastAPI application that does the work in the request, by the same media functions.

python -m tests.load.baseline PORT FOLDER. Routes and answers are those that ``people.py`` asks for. Handlers are plain
functions, which FastAPI runs in 40 threads.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, JSONResponse, Response

from pipelines.jobs.profiles import all_profiles
from pipelines.media.errors import MediaError
from pipelines.media.images.thumbnail_spec import ThumbnailSpec
from pipelines.media.images.thumbnails import thumbnails
from pipelines.media.plan import Cutting
from pipelines.media.preflight import preflight
from pipelines.media.probing.probe import probe
from pipelines.media.profiles import TranscodeParams, merge
from pipelines.media.transcode import transcode_verified

_KEPT = 1000  # jobs that are listed
Job = dict[str, Any]


class Works:
    """The operations, and what goes on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()
        self._lock = threading.Lock()
        self.films_now = self.films_done = 0

    def place(self) -> Path:
        return self._folder / f"made-{next(self._numbers)}"

    def transcode(self, source: Path, params: Mapping[str, Any]) -> list[Path]:
        target = Path(params["output"])
        with self._counted():
            settings = merge(all_profiles(self._folder)[params["profile"]], TranscodeParams(end=params["end"]))
            plan = preflight(source, settings, Cutting(slots=1))
            transcode_verified(source, target, plan, lambda _progress: None)
        return [target]

    def thumbnails(self, source: Path, params: Mapping[str, Any]) -> list[Path]:
        place = self.place()
        made = thumbnails(source, place, ThumbnailSpec(**{k: v for k, v in params.items() if k != "output"}))
        return [place.with_name(place.name + file.name) for file in made.files]

    def probe(self, source: Path, _params: Mapping[str, Any]) -> list[Path]:
        probe(source)
        return []

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self.films_now += 1
        try:
            yield
        finally:
            with self._lock:
                self.films_now -= 1
                self.films_done += 1


def build(folder: Path) -> FastAPI:
    """The application; it writes into ``folder``."""
    app = FastAPI()
    works = Works(folder)
    operations: dict[str, Callable[[Path, Mapping[str, Any]], list[Path]]] = {
        "transcode": works.transcode,
        "image-thumbnails": works.thumbnails,
        "probe": works.probe,
    }
    jobs: dict[str, Job] = {}
    newest: deque[Job] = deque(maxlen=_KEPT)
    files: dict[str, Path] = {}

    @app.exception_handler(MediaError)
    def refused(_request: object, error: MediaError) -> JSONResponse:
        return JSONResponse({"code": error.code, "detail": error.message}, 422)

    @app.get("/v1/jobs")
    def list_jobs(limit: int = 50) -> dict[str, list[Job]]:
        return {"jobs": list(islice(list(newest), limit))}

    @app.get("/v1/jobs/{job_id}")
    def get_job(job_id: str) -> Job:
        return jobs[job_id]

    @app.post("/v1/jobs")
    def do_job(body: dict[str, Any]) -> Job:
        sources = body.get("sources") or [body["source"]]
        made = [file for each in sources for file in operations[body["operation"]](Path(each), body["params"])]
        job_id = works.place().name
        urls = [f"/v1/jobs/{job_id}/artifacts/{file.name}" for file in made]
        files.update(zip(urls, made, strict=True))
        job = {**body, "id": job_id, "state": "succeeded", "artifacts": [{"url": url} for url in urls]}
        jobs[job_id] = job
        newest.appendleft(job)
        return job

    @app.get("/v1/jobs/{job_id}/artifacts/{name}")
    def get_artifact(job_id: str, name: str) -> FileResponse:
        url = f"/v1/jobs/{job_id}/artifacts/{name}"
        if url not in files:
            raise HTTPException(404)
        return FileResponse(files[url])

    @app.get("/v1/media")
    def get_media(source: str) -> Response:
        return Response(probe(Path(source)).model_dump_json(), media_type="application/json")

    @app.get("/v1/images")
    def get_picture(source: str, w: int) -> FileResponse:
        (made,) = works.thumbnails(Path(source), {"sizes": [str(w)], "format": "webp"})
        return FileResponse(made)

    @app.get("/films")
    async def films() -> dict[str, int]:  # answered by the loop, when all threads are taken too
        return {"now": works.films_now, "done": works.films_done}

    return app


def main() -> None:
    port, folder = sys.argv[1:]
    uvicorn.run(build(Path(folder)), host="127.0.0.1", port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
