"""``GET /v1/images``: a picture for a page that needs it now, and signed links to such pictures."""

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from pipelines.jobs.errors import InvalidError
from pipelines.jobs.media_service import MediaService
from pipelines.jobs.served_pictures import KnownPicture
from pipelines.media.images.geometry import Fit
from pipelines.media.images.thumbnail_spec import Position, ThumbnailFormat, ThumbnailSpec
from serve.guard import PICTURES_PATH
from serve.signing import MAX_EXPIRES_S, SIGNATURE, Signer

_MAX_SIDE = 8192
_ANY_SIDE = 65_500


class PictureQuery(BaseModel, extra="forbid"):
    """Which picture."""

    source: str = Field(min_length=1, max_length=4096, description="A path or file: URI on the server.")
    w: int | None = Field(None, ge=1, le=_MAX_SIDE, description="Width in pixels, at most.")
    h: int | None = Field(None, ge=1, le=_MAX_SIDE, description="Height in pixels, at most.")
    fit: Fit = "inside"
    position: Position = "centre"
    format: Literal["auto", "jpeg", "webp", "avif", "png"] = Field(
        "auto", description="auto: WebP where the Accept header has it, else JPEG."
    )
    quality: int = Field(80, ge=1, le=100)
    frame: int = Field(0, ge=0, le=299)

    def spec(self, accept: str) -> ThumbnailSpec:
        """As renditions are asked for. Raises InvalidError."""
        if self.fit != "inside" and not (self.w and self.h):
            raise InvalidError(f"With fit={self.fit} give both w and h.", "parameter_invalid")
        size = str(self.w) if self.w and not self.h else f"{self.w or _ANY_SIDE}x{self.h or _ANY_SIDE}"
        return ThumbnailSpec(
            sizes=(size,),
            fit=self.fit,
            position=self.position,
            format=_negotiated(accept) if self.format == "auto" else self.format,
            quality=self.quality,
            frame=self.frame,
        )


class PictureRequest(PictureQuery):
    """As it comes in a link: what signs it belongs to the guard."""

    expires: int | None = Field(None, ge=0)
    signature: str | None = Field(None, max_length=64)


class LinkRequest(PictureQuery):
    """Which picture, and for how long the link is good."""

    expires_s: int = Field(3600, ge=1, le=MAX_EXPIRES_S)


class Link(BaseModel):
    """``url`` lacks the server's address; ``expires_at`` is in seconds since 1970."""

    url: str
    expires_at: int


def pictures(media: MediaService, signer: Signer) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["images"])

    @router.head("/images", include_in_schema=False)
    @router.get("/images", response_class=FileResponse)
    async def picture(
        request: Request,
        query: Annotated[PictureRequest, Query()],
        accept: Annotated[str, Header()] = "",
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """A picture scaled, upright and in sRGB, without its metadata; from the cache or made now."""
        known = _named(if_none_match or "")
        found = await media.picture(query.source, query.spec(accept), {each.strip('"') for each in known})
        etag = f'"{found.etag}"'
        headers = {
            "ETag": etag,
            "Cache-Control": _cache_control(request),
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            **({"Vary": "Accept"} if query.format == "auto" else {}),
        }
        if isinstance(found, KnownPicture) or known & {etag, "*"}:
            return Response(status_code=304, headers=headers)
        return FileResponse(found.path, media_type=found.media_type, headers=headers)

    @router.post("/images/links")
    async def link(body: LinkRequest) -> Link:
        """A link to a picture that needs no token, for a page: good until it expires."""
        body.spec("")
        await media.check_source(body.source)
        query = body.model_dump(mode="json", exclude={"expires_s"}, exclude_unset=True, exclude_none=True)
        url, at = signer.signed(PICTURES_PATH, {name: str(value) for name, value in query.items()}, body.expires_s)
        return Link(url=url, expires_at=at)

    return router


def _named(if_none_match: str) -> frozenset[str]:
    """The ETags in the header, quoted as there, or ``*``.

    By RFC 9110 (13.1.2) they are compared weakly: proxies that pack an answer mark its ETag as weak.
    """
    return frozenset(each.strip().removeprefix("W/") for each in if_none_match.split(","))


def _negotiated(accept: str) -> ThumbnailFormat:
    return "webp" if "image/webp" in accept.lower() else "jpeg"


def _cache_control(request: Request) -> str:
    """It may be kept, and is asked for again each time: the file may change."""
    return f"{'public' if SIGNATURE in request.query_params else 'private'}, no-cache"
