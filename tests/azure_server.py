"""Azure's blobs on loopback, as much of the Blob service's REST API as Arrow asks for. Signatures aren't looked at.

See https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from kept_objects import KeepingServer, Kept, path_below, range_of
from object_server import BUCKET, Environment
from werkzeug.wrappers import Request, Response

from cluster.stores import StoreAddresses

ACCOUNT = "mediaraytest"
_PAGE = 3  # few, so that there is a second one
_WRITTEN = {"x-ms-request-server-encrypted": "true"}


@dataclass
class AzureServer(KeepingServer):
    """One with a container. ``copied``: how often it copied a blob."""

    copied: int = 0
    scheme: ClassVar[str] = "az"
    environment: ClassVar[Mapping[str, str]] = {"AZURE_STORAGE_KEY": "bWVkaWFyYXk="}

    @property
    def addresses(self) -> StoreAddresses:
        return StoreAddresses(azure_account=ACCOUNT, azure_endpoint=self.url)

    def is_part(self, environment: Environment) -> bool:
        return "comp=block&" in f"{environment['QUERY_STRING']}&"

    def refusal(self, denied: bool) -> tuple[str, list[tuple[str, str]], bytes]:
        status, code = ("403 Forbidden", "AuthorizationFailure") if denied else ("503 Server Busy", "ServerBusy")
        return status, [("x-ms-error-code", code), ("retry-after-ms", "10"), ("Content-Length", "0")], b""

    def answer(self, request: Request) -> Response:
        asked = request.args
        if "action" in asked:  # of the other service, which tells whether there are real folders
            return _error(400, "HierarchicalNamespaceNotEnabled")
        container = f"/{ACCOUNT}/{BUCKET}"
        below = path_below(request, container)
        if below is None or below[:1] not in ("", "/"):
            return _error(404, "ContainerNotFound")
        if asked.get("restype") == "container":
            return self._list(request) if asked.get("comp") == "list" else Response(headers=_CONTAINER)
        key = unquote(below[1:])
        if request.method == "PUT":
            return self._put_blob(request, key)
        if key not in self.objects:
            return _error(404, "BlobNotFound")
        if request.method == "DELETE":
            del self.objects[key]
            return Response(status=202, headers={"x-ms-delete-type-permanent": "true"})
        kept = self.objects[key]
        part = range_of(request.headers.get("x-ms-range") or request.headers.get("Range"), kept.content)
        if part is None or request.method == "HEAD":
            return Response(kept.content, headers=_headers(kept))
        return Response(part[0], 206, headers={**_headers(kept), "Content-Range": part[1]})

    def _put_blob(self, request: Request, key: str) -> Response:
        asked, headers = request.args.get("comp", ""), request.headers
        if asked == "lease":
            return self._lease(request, key)
        if asked == "block":
            self.parts.setdefault(key, {})[request.args["blockid"]] = request.data
            return Response(status=201, headers=_WRITTEN)
        copied = headers.get("x-ms-copy-source")
        if asked == "blocklist":
            listed = [each.text or "" for each in ElementTree.fromstring(request.data)]
            held = self.parts.pop(key, {})
            media_type = headers.get("x-ms-blob-content-type", "application/octet-stream")
            kept = Kept(b"".join(held[each] for each in listed), media_type)
        elif copied:
            source = unquote(urlsplit(copied).path).removeprefix(f"/{ACCOUNT}/{BUCKET}/")
            kept = Kept(self.objects[source].content, self.objects[source].media_type, copy="success")
            self.copied += 1
        else:
            kept = Kept(request.data, headers.get("x-ms-blob-content-type", "application/octet-stream"))
        self.objects[key] = kept
        told = {"ETag": f'"{kept.number}"', "Last-Modified": kept.written}
        if copied:
            return Response(
                status=202, headers={**told, "x-ms-copy-id": str(kept.number), "x-ms-copy-status": "success"}
            )
        return Response(status=201, headers={**told, **_WRITTEN})

    def _lease(self, request: Request, key: str) -> Response:
        if key not in self.objects:
            return _error(404, "BlobNotFound")
        kept, action = self.objects[key], request.headers["x-ms-lease-action"]
        told = {"ETag": f'"{kept.number}"', "Last-Modified": kept.written}
        if action == "break":
            return Response(status=202, headers={**told, "x-ms-lease-time": "0"})
        lease = request.headers.get("x-ms-proposed-lease-id") or request.headers.get("x-ms-lease-id", "")
        return Response(status=201 if action == "acquire" else 200, headers={**told, "x-ms-lease-id": lease})

    def _list(self, request: Request) -> Response:
        asked = request.args
        most = min(_PAGE, int(asked.get("maxresults", _PAGE)))
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        keys, folders, following = self.page(prefix, asked.get("marker", ""), delimiter, most)
        listed = sorted([*((key, False) for key in keys), *((folder, True) for folder in folders)])
        told = "".join(
            f"<BlobPrefix><Name>{escape(name)}</Name></BlobPrefix>" if folder else _blob(name, self.objects[name])
            for name, folder in listed
        )
        body = (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="{self.url}/{ACCOUNT}/" '
            f'ContainerName="{BUCKET}"><Prefix>{escape(prefix)}</Prefix><Delimiter>{escape(delimiter)}</Delimiter>'
            f"<Blobs>{told}</Blobs><NextMarker>{escape(following)}</NextMarker></EnumerationResults>"
        )
        return Response(body, content_type="application/xml")


_CONTAINER = {
    "ETag": '"container"',
    "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
    "x-ms-lease-status": "unlocked",
    "x-ms-lease-state": "available",
    "x-ms-has-immutability-policy": "false",
    "x-ms-has-legal-hold": "false",
}


def _headers(kept: Kept) -> dict[str, str]:
    return {
        "Content-Type": kept.media_type,
        "ETag": f'"{kept.number}"',
        "Last-Modified": kept.written,
        "x-ms-creation-time": kept.written,
        "x-ms-blob-type": "BlockBlob",
        "x-ms-lease-status": "unlocked",
        "x-ms-lease-state": "available",
        "x-ms-server-encrypted": "true",
        "Accept-Ranges": "bytes",
        **({"x-ms-copy-id": str(kept.number), "x-ms-copy-status": kept.copy} if kept.copy else {}),
    }


def _blob(name: str, kept: Kept) -> str:
    return (
        f"<Blob><Name>{escape(name)}</Name><Properties><Creation-Time>{kept.written}</Creation-Time>"
        f"<Last-Modified>{kept.written}</Last-Modified><Etag>{kept.number}</Etag>"
        f"<Content-Length>{len(kept.content)}</Content-Length><Content-Type>{kept.media_type}</Content-Type>"
        "<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier><AccessTierInferred>true</AccessTierInferred>"
        "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted>"
        "</Properties></Blob>"
    )


def _error(status: int, code: str) -> Response:
    """Without a body: to HEAD there is none, and what is told is in the header, too."""
    headers = {"x-ms-error-code": code}
    return Response(status=status, headers=headers, content_type="application/octet-stream")
