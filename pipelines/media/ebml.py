"""The heads of EBML's elements (RFC 8794), of which Matroska and WebM are made."""

from dataclasses import dataclass

HEAD_BYTES = 12  # of the longest head
SEGMENT = 0x18538067  # Matroska's: all of a film, behind EBML's own header


@dataclass(frozen=True)
class Element:
    """Where it begins, where its data does, and where that ends; ``end`` is ``None`` where its size is unknown."""

    name: int
    begin: int
    data: int
    end: int | None


def element_at(content: bytes, place: int, base: int) -> Element | None:
    """The element whose head begins at ``place`` of ``content``, which lies at ``base`` of the file."""
    if place >= len(content):
        return None
    length = 9 - content[place].bit_length()
    size_at = place + length
    if length > 4 or size_at >= len(content):
        return None
    name = int.from_bytes(content[place:size_at])
    size_length = 9 - content[size_at].bit_length()
    data = size_at + size_length
    if size_length > 8 or data > len(content):
        return None
    size = int.from_bytes(content[size_at:data]) & ((1 << 7 * size_length) - 1)
    unknown = size == (1 << 7 * size_length) - 1
    return Element(name, base + place, base + data, None if unknown else base + data + size)
