"""Google's store on loopback, as much of its JSON API as Arrow asks for: objects, lists, resumable uploads.

See https://cloud.google.com/storage/docs/json_api/v1 and https://cloud.google.com/storage/docs/resumable-uploads.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import unquote

from kept_objects import KeepingServer, Kept, path_below, range_of
from object_server import BUCKET, Environment
from werkzeug.wrappers import Request, Response

from cluster.stores import StoreAddresses

_PAGE = 3  # few, so that there is a second one
_OBJECTS, _UPLOADS = f"/storage/v1/b/{BUCKET}/o", f"/upload/storage/v1/b/{BUCKET}/o"


@dataclass
class GcsServer(KeepingServer):
    """One with a bucket."""

    scheme: ClassVar[str] = "gs"
    environment: ClassVar[Mapping[str, str]] = {}

    @property
    def addresses(self) -> StoreAddresses:
        return StoreAddresses(gcs_endpoint=self.url, gcs_anonymous=True)

    def is_part(self, environment: Environment) -> bool:
        return environment["REQUEST_METHOD"] == "PUT"

    def refusal(self, denied: bool) -> tuple[str, list[tuple[str, str]], bytes]:
        status = "403 Forbidden" if denied else "503 Service Unavailable"
        error = {"code": int(status[:3]), "message": status[4:]}
        return status, [("Content-Type", "application/json")], json.dumps({"error": error}).encode()

    def answer(self, request: Request) -> Response:
        if path_below(request, _UPLOADS) is not None:
            return self._upload(request)
        if path_below(request, _OBJECTS) == "":
            return self._list(request)
        encoded = path_below(request, f"{_OBJECTS}/")
        encoded = path_below(request, f"/{BUCKET}/") if encoded is None else encoded
        key = unquote(encoded or "")
        if key not in self.objects:
            return _told({"error": {"code": 404, "message": "Not Found"}}, 404)
        if request.method == "DELETE":
            del self.objects[key]
            return Response(status=204)
        if request.args.get("alt") == "media" or path_below(request, f"/{BUCKET}/") is not None:
            return self._content(request, self.objects[key])
        return _told(_resource(key, self.objects[key]))

    def _content(self, request: Request, kept: Kept) -> Response:
        if request.args.get("generation", str(kept.number)) != str(kept.number):
            return _told({"error": {"code": 404, "message": "No such generation"}}, 404)
        part = range_of(request.headers.get("Range"), kept.content)
        headers = {"x-goog-generation": str(kept.number), "x-goog-stored-content-length": str(len(kept.content))}
        if part is None:
            return Response(kept.content, headers=headers)
        return Response(part[0], 206, headers={**headers, "Content-Range": part[1]})

    def _list(self, request: Request) -> Response:
        asked = request.args
        keys, folders, following = self.page(
            asked.get("prefix", ""), asked.get("pageToken", ""), asked.get("delimiter", ""), _PAGE
        )
        told: dict[str, Any] = {"kind": "storage#objects", "prefixes": folders}
        told["items"] = [_resource(key, self.objects[key]) for key in keys]
        return _told({**told, "nextPageToken": following} if following else told)

    def _upload(self, request: Request) -> Response:
        if request.method == "POST":
            described = json.loads(request.data or b"{}")
            upload = uuid.uuid4().hex
            key = request.args.get("name") or described["name"]
            self.parts[upload] = {"key": key.encode(), "type": described.get("contentType", "").encode(), "data": b""}
            return Response(headers={"Location": f"{self.url}{_UPLOADS}?uploadType=resumable&upload_id={upload}"})
        upload = request.args["upload_id"]
        parts = self.parts[upload]
        parts["data"] += request.data
        if request.headers.get("Content-Range", "bytes */0").endswith("/*"):
            held = {"Range": f"bytes=0-{len(parts['data']) - 1}"} if parts["data"] else {}
            return Response(status=308, headers=held)
        key = parts["key"].decode()
        self.objects[key] = Kept(parts["data"], parts["type"].decode() or "application/octet-stream")
        del self.parts[upload]
        return _told(_resource(key, self.objects[key]))


def _resource(key: str, kept: Kept) -> dict[str, Any]:
    at = datetime.fromtimestamp(kept.at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "kind": "storage#object",
        "bucket": BUCKET,
        "name": key,
        "generation": str(kept.number),
        "metageneration": "1",
        "size": str(len(kept.content)),
        "contentType": kept.media_type,
        "timeCreated": at,
        "updated": at,
        "etag": f"etag-{kept.number}",
    }


def _told(told: Mapping[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(told), status, content_type="application/json")
