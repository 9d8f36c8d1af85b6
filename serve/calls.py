"""What the client asks of the server: for each thing the request, and how its answer is read."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from serve.answers import ArtifactPage, JobPage, JobView, PlanView, RowPage
from serve.protocol import BUSY, GATEWAY, Call


def job_path(job_id: str, *rest: str) -> str:
    return "/".join(["/jobs", *(quote(part, safe="") for part in (job_id, *rest))])


def job_of(answer: httpx.Response) -> JobView:
    return JobView.model_validate_json(answer.content)


def submit(
    operation: str,
    sources: Sequence[str],
    params: Mapping[str, Any] | None,
    priority: str,
    key: str | None,
    webhook: str | None,
) -> Call[JobView]:
    body = {
        "operation": operation,
        "sources": list(sources),
        "params": dict(params or {}),
        "priority": priority,
        **({} if webhook is None else {"webhook": webhook}),
    }
    return Call("POST", "/jobs", job_of, body, headers={"Idempotency-Key": key or str(uuid.uuid4())})


def plan(operation: str, sources: Sequence[str], params: Mapping[str, Any] | None) -> Call[PlanView]:
    body = {"operation": operation, "sources": list(sources), "params": dict(params or {})}
    return Call("POST", "/plans", lambda answer: PlanView.model_validate_json(answer.content), body)


def get(job_id: str) -> Call[JobView]:
    return Call("GET", job_path(job_id), job_of)


def page(state: str | None, operation: str | None, limit: int, cursor: str | None) -> Call[JobPage]:
    given = {"state": state, "operation": operation, "limit": str(limit), "cursor": cursor}
    query = {name: value for name, value in given.items() if value is not None}
    return Call("GET", "/jobs", lambda answer: JobPage.model_validate_json(answer.content), query=query)


def control(job_id: str, action: str) -> Call[JobView]:
    """Cancel, pause, resume: asking twice changes nothing."""
    return Call("POST", job_path(job_id, action), job_of)


def retry(job_id: str, key: str | None) -> Call[JobView]:
    headers = {"Idempotency-Key": key or str(uuid.uuid4())}
    return Call("POST", job_path(job_id, "retry"), job_of, headers=headers)


def set_priority(job_id: str, priority: str) -> Call[JobView]:
    return Call("PATCH", job_path(job_id), job_of, {"priority": priority})


def delete(job_id: str) -> Call[None]:
    return Call("DELETE", job_path(job_id), lambda _: None)


def artifacts(job_id: str, cursor: str) -> Call[ArtifactPage]:
    path = job_path(job_id, "artifacts")
    return Call("GET", path, lambda answer: ArtifactPage.model_validate(answer.json()), query={"cursor": cursor})


def artifact(job_id: str, name: str) -> Call[None]:
    """A file to be fetched: its bytes are what is wanted."""
    return Call("GET", job_path(job_id, "artifacts", name), lambda _: None)


def collection_path(name: str, *rest: str) -> str:
    return "/".join(["/collections", *(quote(part, safe="") for part in (name, *rest))])


def collection_rows(
    name: str, where: str | None, columns: str | None, order_by: str | None, limit: int, cursor: str
) -> Call[RowPage]:
    query = {**_asked(where, columns, order_by), "limit": str(limit), "cursor": cursor}
    path = collection_path(name, "files")
    return Call("GET", path, lambda answer: RowPage.model_validate_json(answer.content), query=query)


def collection_export(
    name: str, suffix: str, where: str | None, columns: str | None, order_by: str | None
) -> Call[None]:
    return Call("GET", collection_path(name, f"files{suffix}"), lambda _: None, query=_asked(where, columns, order_by))


def remove_collection(name: str) -> Call[None]:
    return Call("DELETE", collection_path(name), lambda _: None)


def watch_collection(name: str) -> Call[dict[str, Any]]:
    return Call("PUT", collection_path(name, "watch"), _object)


def unwatch_collection(name: str) -> Call[None]:
    return Call("DELETE", collection_path(name, "watch"), lambda _: None)


def _asked(where: str | None, columns: str | None, order_by: str | None) -> dict[str, str]:
    given = {"where": where, "columns": columns, "order_by": order_by}
    return {name: value for name, value in given.items() if value is not None}


def document(path: str, query: Mapping[str, str] | None = None) -> Call[dict[str, Any]]:
    return Call("GET", path, _object, query=query or {})


def purge_cache(source: str | None, operation: str | None, collection: str | None) -> Call[None]:
    given = {"source": source, "operation": operation, "collection": collection}
    query = {name: value for name, value in given.items() if value is not None}
    return Call("DELETE", "/cache", lambda _: None, query=query)


def deliveries(state: str, limit: int, cursor: str | None) -> Call[dict[str, Any]]:
    query = {"state": state, "limit": str(limit), **({} if cursor is None else {"cursor": cursor})}
    return document("/webhooks/deliveries", query)


def resend(delivery_id: str) -> Call[dict[str, Any]]:
    return Call("POST", f"/webhooks/deliveries/{quote(delivery_id, safe='')}/resend", _object)


def webhook_test() -> Call[dict[str, Any]]:
    return Call("POST", "/webhooks/test", _object)


def listing(name: str) -> Call[list[dict[str, Any]]]:
    """``/operations``, ``/profiles`` or ``/collections``: a list, bare or under its name."""

    def rows(answer: httpx.Response) -> list[dict[str, Any]]:
        told = answer.json()
        return list(told[name] if isinstance(told, dict) else told)

    return Call("GET", f"/{name}", rows)


def health(*, deep: bool) -> Call[dict[str, Any]]:
    return Call("GET", "/health", _object, query={"deep": "true"} if deep else {}, accepts=frozenset({503}))


def capacity(nodes: int | None) -> Call[dict[str, Any]]:
    return document("/capacity", {} if nodes is None else {"nodes": str(nodes)})


def ready() -> Call[bool]:
    return Call("GET", "/health/ready", lambda answer: answer.is_success, accepts=BUSY | GATEWAY | {404})


def _object(answer: httpx.Response) -> dict[str, Any]:
    return dict(answer.json())
