"""Write an image in another format, or smaller in its own: upright, in sRGB; of its metadata what is to be kept."""

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from pipelines.media.errors import EncodeError, MediaError, ParamsError
from pipelines.media.images.conversion.candidates import Candidates, Made, size_of, too_small
from pipelines.media.images.conversion.convert_spec import (
    FORMATS,
    Candidate,
    Converted,
    ConvertFormat,
    ConvertSpec,
)
from pipelines.media.images.conversion.decision import decided
from pipelines.media.images.conversion.deep import Deep, deep_pixels, deep_png
from pipelines.media.images.conversion.encoders import Way
from pipelines.media.images.conversion.frames import Frames, read_frames
from pipelines.media.images.conversion.kept import own_bytes
from pipelines.media.images.encode import written
from pipelines.media.images.header import bytes_of, open_image
from pipelines.media.images.metadata.carried import Carried, carried
from pipelines.media.images.room import ROOM, Room
from pipelines.media.source import Source, name_of


def convert(source: Source, target: Path, spec: ConvertSpec, room: Room = ROOM) -> Converted:
    """Write one file: ``target`` and its format's extension.

    Raises:
        SourceError: it's no image that is read here, or it's damaged.
        LimitError: it has too many pixels, bytes or frames, or is too large for the format.
        ParamsError: what is asked can't be had of this image: fields tell what can.
        OutOfSpaceError, EncodeError: see ``mux``.
    """
    with room.place() as take:
        return _converted(source, target, spec, take)


def _converted(source: Source, target: Path, spec: ConvertSpec, take: Callable[[int], None]) -> Converted:
    name = name_of(source)
    data = bytes_of(source)
    with open_image(data, name) as image:
        frames = read_frames(data, image, name, spec, take)
        along = carried(data, image, spec.keep)
        _check_room(along, spec)
        own = _own(data, image, frames, spec, name, along)
        deep = deep_pixels(data, image, frames) if spec.keeps_depth and "png" in spec.allowed else None
    made, reason = decided(_tried(frames, own, deep, spec, name, along), spec)
    best = next(each for each in made if each.row.chosen)
    assert best.data is not None
    file = written(target, "", best.data, best.row.format, frames.size)
    saved = len(data) - len(best.data)
    return Converted(
        source=frames.info,
        files=(file,),
        warnings=(*_warnings(frames, best, spec), *((_larger(frames, best),) if saved < 0 else ())),
        format=best.row.format,
        quality=best.row.quality,
        lossless=best.row.method in ("lossless", "kept") and best.bits >= frames.info.bits,
        chroma=best.way.chroma if best.row.method == "lossy" and frames.arrays[0].shape[2] > 1 else None,
        progressive=_is_progressive(best.data, best.row.format),
        frames=len(frames.arrays),
        bits=best.bits,
        ssimulacra2=round(best.score, 2),
        source_size_bytes=len(data),
        size_bytes=len(best.data),
        saved_bytes=saved,
        saved_percent=round(100 * saved / len(data), 1),
        tries=sum(each.row.tries for each in made),
        kept=best.row.method == "kept",
        reason="PNG keeps 16 bits." if best.bits > 8 and best.row.method != "kept" else reason,
        candidates=tuple(each.row for each in made),
    )


def _check_room(along: Carried, spec: ConvertSpec) -> None:
    """Raise ParamsError where what is kept of the metadata leaves no byte of a limit for pixels."""
    if spec.target_bytes is not None and along.size_bytes >= spec.target_bytes:
        raise ParamsError(
            f"Its metadata alone take {along.size_bytes} bytes, of the {spec.target_bytes} asked for. "
            "Keep fewer of them, or allow more bytes."
        )


def _own(data: bytes, image: Image.Image, frames: Frames, spec: ConvertSpec, name: str, along: Carried) -> Made | None:
    """The source's own compressed pixels, where they may stay."""
    format_ = frames.info.format
    wanted = spec.skip_larger or (spec.lossless and format_ == "jpeg")
    if not wanted or format_ not in spec.allowed or format_ in ("gif", "tiff", "bmp"):
        return None
    kept = own_bytes(data, image, frames, spec, name)
    if kept is None:
        return None
    whole = along.within(kept, format_, frames.size)
    row = Candidate(format=format_, method="kept", ssimulacra2=100.0, size_bytes=len(whole))
    return Made(Way(format_, "lossless"), row, whole, len(whole), max(8, frames.info.bits))


def _tried(
    frames: Frames, own: Made | None, deep: Deep | None, spec: ConvertSpec, name: str, along: Carried
) -> list[Made]:
    """What it may become; where its depth is to be kept, that which keeps it."""
    ways = Candidates(frames, spec, name, along)
    limit = spec.target_bytes
    if not spec.keeps_depth or frames.info.bits <= 8:
        return list(ways.tried(own))
    if own is not None and limit is not None and size_of(own) <= limit:
        return [own]
    keeping = [own] if own is not None and limit is None else []
    if deep is not None:
        keeping.append(_deep(deep, frames, spec, name, along))
    if not keeping and spec.lossless:
        raise ParamsError(
            f"{name} has {frames.info.bits} bits a channel, which can't all be kept; PNG has up to 16. "
            "A depth of 8 leaves the others out.",
            formats="png",
        )
    return keeping or list(ways.tried(own))


def _deep(deep: Deep, frames: Frames, spec: ConvertSpec, name: str, along: Carried) -> Made:
    made = along.within(deep_png(deep, frames.size, spec, name), "png", frames.size)
    if spec.target_bytes is not None and len(made) > spec.target_bytes:
        raise too_small(spec.target_bytes, len(made), "a PNG of 16 bits")
    row = Candidate(format="png", method="lossless", ssimulacra2=100, size_bytes=len(made), tries=1)
    return Made(Way("png", "lossless"), row, made, len(made), bits=16)


def _is_progressive(data: bytes, format_: ConvertFormat) -> bool:
    if format_ != "jpeg":
        return False
    try:
        with open_image(data, "The file") as image:
            return bool(image.info.get("progressive"))
    except MediaError as error:
        raise EncodeError(f"What was written doesn't open: {error.message}") from error


def _larger(frames: Frames, best: Made) -> str:
    """What to say of a file that is larger than its source, and what may help."""
    ways = []
    if best.row.method == "lossy":
        ways.append("at a lower quality")
    elif best.row.method == "lossless":
        ways.append("in a format that loses a little")
    if frames.info.format != best.row.format and frames.info.format in FORMATS:
        ways.append("in the format it has")
    helps = f": {', or '.join(ways)}, it may be smaller" if ways else ""
    return f"It is larger than the source{helps}."


def _warnings(frames: Frames, best: Made, spec: ConvertSpec) -> tuple[str, ...]:
    warnings = list(frames.warnings)
    if frames.timing is not None and frames.timing.plays and best.row.format == "avif":
        warnings.append("AVIF plays it for ever; the source ends after a while.")
    if spec.chroma == "4:4:4" and best.row.format == "webp" and best.row.method == "lossy":
        warnings.append("WebP has colour at half the resolution only.")
    if spec.depth == "keep" and frames.info.bits > best.bits:
        warnings.append(f"Its {frames.info.bits} bits a channel can't be kept; it has {best.bits}.")
    if frames.info.gain_map:
        warnings.append("Its gain map (HDR) is left out.")
    return tuple(warnings)
