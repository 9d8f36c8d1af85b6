"""Errors as RFC 9457 problem documents: one table from stable codes to HTTP status."""

import logging
from collections.abc import Mapping
from typing import Any

import redis
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from cluster.errors import StorageError
from pipelines.jobs.errors import InvalidError, JobsError, wording
from pipelines.jobs.service import RefusedError
from pipelines.jobs.store_records import UnreadableRecordError
from pipelines.media.errors import MediaError
from serve.parts import PartAwayError

RETRY_AFTER_S = 1
_log = logging.getLogger("mediaray.edge")

# What isn't listed is a request that can't be done as it is: 422.
_STATUS: Mapping[str, int] = {
    "unauthorized": 401,
    "source_outside_roots": 403,
    "output_outside_roots": 403,
    "origin_refused": 403,
    "signature_refused": 403,
    "webhook_refused": 403,
    "job_not_found": 404,
    "collection_not_found": 404,
    "artifact_not_found": 404,
    "delivery_not_found": 404,
    "not_found": 404,
    "artifact_gone": 410,
    "job_finished": 409,
    "job_active": 409,
    "collection_busy": 409,
    "collection_in_trash": 409,
    "output_exists": 409,
    "output_in_use": 409,
    "artifact_elsewhere": 409,
    "body_too_large": 413,
    "host_refused": 421,
    "internal": 500,
    "child_crashed": 502,
    "busy": 503,
    "store_unavailable": 503,
    "cache_unavailable": 503,
    "dispatcher_unavailable": 503,
    "storage_unavailable": 503,
    "limit_time": 504,
    "disk_full": 507,
}
_TITLES = {
    400: "Bad request",
    401: "Token needed",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    410: "Gone",
    413: "Too large",
    421: "Wrong host",
    422: "Can't be done as asked",
    500: "Server error",
    502: "Media process failed",
    503: "Not available now",
    504: "Took too long",
    507: "Disk full",
}


def problem(code: str, detail: str, *, status: int | None = None, **more: Any) -> JSONResponse:
    """A problem document. ``type`` is a name of ours, not a page to fetch."""
    status = status or _STATUS.get(code, 422)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="mediaray"'
    body = {
        "type": f"urn:mediaray:problem:{code}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "code": code,
        "detail": detail,
        **more,
    }
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def handle_errors(app: FastAPI) -> None:
    """Turn every error that leaves a route into a problem document."""

    @app.exception_handler(JobsError)
    async def _jobs(_request: Request, error: JobsError) -> JSONResponse:
        more: dict[str, Any] = (
            {"problems": list(error.problems)} if isinstance(error, InvalidError) and error.problems else {}
        )
        return problem(error.code, error.message, **more)

    @app.exception_handler(StorageError)
    async def _storage(_request: Request, error: StorageError) -> JSONResponse:
        return problem(error.code, error.message)

    @app.exception_handler(MediaError)
    async def _media(_request: Request, error: MediaError) -> JSONResponse:
        return problem(error.code, error.message)

    @app.exception_handler(RefusedError)
    async def _refused(_request: Request, error: RefusedError) -> JSONResponse:
        return problem(error.error.code, error.error.message)

    @app.exception_handler(redis.RedisError)
    async def _store(_request: Request, error: redis.RedisError) -> JSONResponse:
        _log.warning("the job store is away: %s", type(error).__name__)
        return problem("store_unavailable", "The job store doesn't answer. Try again in a moment.")

    @app.exception_handler(PartAwayError)
    async def _dispatcher(_request: Request, _error: PartAwayError) -> JSONResponse:
        return problem(
            "dispatcher_unavailable", "The dispatcher doesn't answer; it is started again by itself. Try in a moment."
        )

    @app.exception_handler(UnreadableRecordError)
    async def _unreadable(_request: Request, _error: UnreadableRecordError) -> JSONResponse:
        return problem("record_unreadable", "This job's record can't be read; it was set aside.", status=500)

    @app.exception_handler(RequestValidationError)
    async def _validation(_request: Request, error: RequestValidationError) -> JSONResponse:
        problems = [_told(each) for each in error.errors()]
        listed = "; ".join(f"{each['parameter'] or 'body'}: {each['message']}" for each in problems)
        return problem("request_invalid", f"Wrong request: {listed}.", problems=problems)

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
        return problem(code, str(error.detail), status=error.status_code)

    @app.exception_handler(Exception)
    async def _unexpected(_request: Request, error: Exception) -> JSONResponse:
        _log.error("a request failed", exc_info=error)
        return problem("internal", "An unexpected error; the server's log has the details.")


def _told(error: ErrorDetails) -> dict[str, str]:
    """What is wrong with a part of a request. Of what is no JSON, FastAPI tells the place as if it were a parameter."""
    if error["type"] == "json_invalid":
        return {"parameter": "", "message": f"no JSON ({error['ctx']['error']}, at character {error['loc'][-1]})"}
    return {"parameter": ".".join(str(part) for part in error["loc"][1:]), "message": wording(error)}
