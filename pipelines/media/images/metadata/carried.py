"""What of a source's metadata goes with pixels that are encoded anew."""

from dataclasses import dataclass
from typing import Literal

from PIL import Image

from pipelines.media.images.info import ImageFormat
from pipelines.media.images.metadata import exif, iptc, xmp, xmp_changes
from pipelines.media.images.metadata.blocks import Blocks
from pipelines.media.images.metadata.container import Held, held_by, with_blocks
from pipelines.media.images.metadata.metadata_spec import Keep, Texts

MAX_EXIF_BYTES = 65_000  # what one segment of a JPEG takes, with what it begins with; other formats take more
MAX_XMP_BYTES = 65_000


@dataclass(frozen=True)
class Carried:
    """Blocks for a file that is made. ``exif`` is without what it begins with in a JPEG."""

    exif: bytes | None = None
    xmp: bytes | None = None

    @property
    def size_bytes(self) -> int:
        """Theirs; what a format puts around them comes to it."""
        return len(self.exif or b"") + len(self.xmp or b"")

    def within(self, data: bytes, format_: ImageFormat, size: tuple[int, int]) -> bytes:
        """A finished file of ``size`` (width, height) with these. Raises as ``with_blocks``."""
        if self.exif is None and self.xmp is None:
            return data
        return with_blocks(data, format_, size, Blocks(exif=self.exif, xmp=self.xmp))


def carried(data: bytes, image: Image.Image, keep: Keep) -> Carried:
    """EXIF and XMP for what is made of ``image``, whose file is ``data``; damaged ones are left out.

    ``copyright`` keeps who made it, whose it is, credit and terms, those of IPTC too. ``all-but-gps`` drops MakerNotes
    besides, which may hold places. None has what was true of the old pixels only: orientation (they're upright),
    size, thumbnail, colour space, gain map.
    """
    if keep == "none":
        return Carried()
    held = held_by(data, image)
    block = exif.within(exif.for_new_pixels(held.exif, keep), MAX_EXIF_BYTES)
    return Carried(exif=block or None, xmp=_xmp(held, keep) or None)


def _xmp(held: Held, keep: Literal["copyright", "all-but-gps", "all"]) -> bytes:
    try:
        packet = xmp.parse(held.blocks.xmp) if held.blocks.xmp else xmp.empty()
    except xmp.XmpError:
        packet = xmp.empty()
    if keep == "copyright":
        xmp_changes.keep_credit(packet)
    elif keep == "all-but-gps":
        xmp_changes.strip(packet, "gps", gain_map=False)
    xmp_changes.settle_new_pixels(packet)
    records = iptc.read(iptc.parse(held.iptc or b"")[0])
    xmp_changes.set_credit(packet, *(_line(records.get(name)) for name in ("byline", "copyright", "credit")))
    return xmp_changes.within(packet, MAX_XMP_BYTES)


def _line(value: Texts | None) -> str | None:
    return ", ".join(value) if isinstance(value, tuple) else value
