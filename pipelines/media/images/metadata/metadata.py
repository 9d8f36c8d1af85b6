"""Read an image's metadata; strip or write them without touching its pixels."""

import hashlib
import io
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image, ImageCms, ImageSequence

from pipelines.media.errors import LimitError, MediaError, OutputInvalidError, SourceUnreadableError
from pipelines.media.images.encode import written
from pipelines.media.images.header import MAX_PROFILE_BYTES, bytes_of, check_size, describe, open_image, reading
from pipelines.media.images.info import ImageInfo
from pipelines.media.images.metadata import exif, iptc, xmp
from pipelines.media.images.metadata.blocks import places_in
from pipelines.media.images.metadata.container import Held, held_by, rewritten
from pipelines.media.images.metadata.ifd import text_of
from pipelines.media.images.metadata.metadata_spec import (
    Animation,
    GainMap,
    Icc,
    Metadata,
    MetadataSpec,
    Texts,
    memory_bytes,
)
from pipelines.media.images.room import ROOM, Room
from pipelines.media.source import Source, name_of

MAX_DURATIONS = 1000
MAX_TEXT = 2000
MAX_TEXTS = 100
MAX_PROVED_BYTES = 1 << 30  # of all pages' pixels: they may share bytes of the file, which unpack to far more
_BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I": 32, "F": 32}  # of a pixel in Pillow's modes; in others 8 a channel


def metadata(source: Source, target: Path, spec: MetadataSpec, room: Room = ROOM) -> Metadata:
    """Tell the source's metadata. Where ``spec`` changes some, write the changed file to ``target`` with an extension,
    and tell that file's.

    Raises:
        SourceError: it's no image that is read here, its header is damaged, or its format's metadata can't be changed.
        LimitError: it has too many pixels or bytes, a TIFF's pages in all too, or what is written doesn't fit.
        OutputInvalidError: what was made tells a place still; it isn't kept.
        OutOfSpaceError, EncodeError: see ``mux``.
    """
    with room.place() as take:
        return _metadata(source, target, spec, take)


def _metadata(source: Source, target: Path, spec: MetadataSpec, take: Callable[[int], None]) -> Metadata:
    name = name_of(source)
    data = bytes_of(source)
    with open_image(data, name) as image:
        info = describe(image, name)
        take(memory_bytes(info, spec))
        told = _told(data, image, info)
    if not spec.changes:
        return told
    if info.format == "tiff":
        _check_pages(data, name)
    made, warnings = rewritten(data, info, spec, name)
    after = _checked(made, info, spec, name)
    # Where they are is only told by the source.
    if info.format == "tiff" and _pixels(data, name) != _pixels(made, name):
        raise SourceUnreadableError(f"{name} is too damaged for its metadata to be changed: pixels would differ.")
    file = written(target, "", made, info.format, (info.width, info.height))
    return after.model_copy(
        update={"source": info, "files": (file,), "warnings": tuple(dict.fromkeys((*told.warnings, *warnings)))}
    )


def _check_pages(data: bytes, name: str) -> None:
    """Raise LimitError where the pages of a TIFF have too many pixels in all."""
    left_bits = 8 * MAX_PROVED_BYTES
    with open_image(data, name) as image, reading(name):
        for page in ImageSequence.Iterator(image):
            check_size(page.size, name)
            left_bits -= page.width * page.height * _BITS.get(page.mode, 8 * len(page.getbands()))
            if left_bits < 0:
                raise LimitError(f"{name} has pages of more than {MAX_PROVED_BYTES >> 20} MiB in all. Split it.")


def _pixels(data: bytes, name: str) -> list[bytes]:
    """A digest of each page's pixels."""
    with open_image(data, name) as image, reading(name):
        return [hashlib.sha256(page.tobytes()).digest() for page in ImageSequence.Iterator(image)]


def _told(data: bytes, image: Image.Image, info: ImageInfo) -> Metadata:
    held = held_by(data, image)
    gps, gps_warnings = exif.read_gps(held.exif)
    values, xmp_warnings = _xmp(held)
    records, iptc_warnings = iptc.parse(held.iptc or b"")
    icc, icc_warnings = _icc(image)
    gain_map, gain_warnings = _gain_map(held, values)
    warnings = (*held.warnings, *gps_warnings, *xmp_warnings, *iptc_warnings, *icc_warnings, *gain_warnings)
    return Metadata(
        source=info,
        warnings=tuple(dict.fromkeys(warnings)),
        dpi=_dpi(image),
        animation=_animation(held, info),
        exif=exif.read(held.exif),
        gps=gps,
        iptc=iptc.read(records),
        xmp=values,
        icc=icc,
        gain_map=gain_map,
        comments=tuple(filter(None, (text_of(each)[:MAX_TEXT] for each in held.blocks.comments[:MAX_TEXTS]))),
        texts={
            keyword: text[:MAX_TEXT]
            for keyword, text in held.blocks.texts[:MAX_TEXTS]
            if not keyword.startswith("Raw profile")
        },
        other_pictures=len(held.others),
        trailing_bytes=held.trailing_bytes,
    )


def _xmp(held: Held) -> tuple[dict[str, Texts], tuple[str, ...]]:
    """What its packets say, the first one before what didn't fit into that."""
    values: dict[str, Texts] = {}
    for packet in (held.blocks.xmp, held.blocks.more_xmp):
        if packet is None:
            continue
        try:
            values = {**xmp.flat(xmp.parse(packet)), **values}
        except xmp.XmpError as error:
            return values, (f"Its XMP isn't read: {error}.",)
    return values, ()


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    dpi = image.info.get("dpi")
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return None
    try:
        across, down = (float(each) for each in dpi)
    except (TypeError, ValueError, ArithmeticError):  # a TIFF may tell it as a text, or as several numbers
        return None
    if not (math.isfinite(across) and math.isfinite(down)) or across <= 0 or down <= 0:
        return None
    return round(across, 2), round(down, 2)


def _animation(held: Held, info: ImageInfo) -> Animation | None:
    if info.frames < 2 or info.format == "tiff":  # a TIFF's are pages
        return None
    whole = len(held.durations_ms) == info.frames
    return Animation(
        frames=info.frames,
        duration_s=sum(held.durations_ms) / 1000 if whole else None,
        durations_ms=held.durations_ms[:MAX_DURATIONS],
        loops=held.loops if held.loops is not None or info.format != "gif" else 1,
    )


def _icc(image: Image.Image) -> tuple[Icc | None, tuple[str, ...]]:
    data = image.info.get("icc_profile")
    if not data:
        return None, ()
    if len(data) > MAX_PROFILE_BYTES:
        return None, (f"Its ICC profile isn't read: it has more than {MAX_PROFILE_BYTES >> 20} MiB.",)
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data)).profile
        return Icc(
            description=(profile.profile_description or "").strip()[:MAX_TEXT] or None,
            device_class=profile.device_class.strip(),
            colour_space=profile.xcolor_space.strip(),
            connection_space=profile.connection_space.strip(),
            version=f"{profile.version:.1f}",
            size_bytes=len(data),
        ), ()
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        return None, (f"Its ICC profile can't be read: {error}.",)


def _gain_map(held: Held, values: dict[str, Texts]) -> tuple[GainMap | None, tuple[str, ...]]:
    """Told by the picture, or by the map itself, which is another one of the file."""
    for each in (values, *_packets(held)):
        if "hdrgm:GainMapMax" in each or ("hdrgm:Version" in each and not held.others):
            return _ultra_hdr(each)
        if "hdrgainmap" in str(each.get("apdi:AuxiliaryImageType", "")).lower():
            return GainMap(kind="apple", version=_text(each.get("HDRGainMap:HDRGainMapVersion"))), ()
    if "hdrgm:Version" in values:
        return _ultra_hdr(values)
    return (GainMap(kind="iso-21496-1") if held.iso_gain_map else None), ()


def _packets(held: Held) -> Iterable[dict[str, Texts]]:
    for each in held.others:
        try:
            yield xmp.flat(xmp.parse(each.xmp or b""))
        except xmp.XmpError:
            continue


def _ultra_hdr(values: dict[str, Texts]) -> tuple[GainMap, tuple[str, ...]]:
    told = values.get("hdrgm:GainMapMin", "0"), values.get("hdrgm:GainMapMax")
    smallest, largest = (_stops(each) for each in told)
    wrong = smallest is None or (largest is None and told[1] is not None)
    found = GainMap(kind="ultra-hdr", version=_text(values.get("hdrgm:Version")), smallest=smallest, largest=largest)
    return found, ("Its gain map's gain is no number.",) if wrong else ()


def _text(value: Texts | None) -> str | None:
    return value if isinstance(value, str) else None


def _stops(value: Texts | None) -> tuple[float, ...] | None:
    """One, or one of each channel; None where one is no number, or beyond what a float holds."""
    texts = (value,) if isinstance(value, str) else value or ()
    if not texts or not all(re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", text) for text in texts[:3]):
        return None
    stops = tuple(float(text) for text in texts[:3])
    return stops if all(map(math.isfinite, stops)) else None


def _checked(made: bytes, info: ImageInfo, spec: MetadataSpec, name: str) -> Metadata:
    """Read what was made: it is the same picture, and where places were to be dropped it tells none."""
    try:
        with open_image(made, "The file that was made") as image:
            after = describe(image, "The file that was made")
            held = held_by(made, image)
            told = _told(made, image, after)
    except MediaError as error:
        raise SourceUnreadableError(f"{name} is too damaged for its metadata to be changed: {error.message}") from error
    same = ("format", "width", "height", "orientation", "frames", "bits", "alpha", "profile")
    changes = [each for each in same if getattr(info, each) != getattr(after, each)]
    if changes:
        raise SourceUnreadableError(
            f"{name} is too damaged for its metadata to be changed: {', '.join(changes)} would differ."
        )
    if spec.strip == "nothing":
        return told
    places = [each for part in (held.blocks, *held.others) for each in places_in(part)]
    if exif.has_gps(held.exif):
        places.append("EXIF")
    if places:
        raise OutputInvalidError(f"What was made tells a place still, in its {', '.join(sorted(set(places)))}.")
    return told
