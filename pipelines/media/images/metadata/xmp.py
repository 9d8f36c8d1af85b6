"""XMP: parse a packet safely, tell it flat, write it again.

Source: XMP specification, part 1 (ISO 16684-1): the RDF that a packet may have, and what it means.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from pipelines.media.images.metadata.metadata_spec import Texts
from pipelines.media.images.metadata.xmp_names import META, PREFIXES, RDF, XML, Name

MAX_PACKET_BYTES = 4 << 20
MAX_DEPTH = 32
MAX_ELEMENTS = 20_000
MAX_VALUES = 1000
MAX_TEXT = 2000


class XmpError(ValueError):
    """A packet isn't XMP, or isn't read; it says why."""


@dataclass(frozen=True)
class Packet:
    """A parsed packet: its tree, and the prefixes that it has of its own."""

    root: ET.Element
    prefixes: dict[str, str]

    def descriptions(self) -> Iterator[ET.Element]:
        for rdf in self.root.iter(f"{{{RDF}}}RDF"):
            yield from rdf.findall(f"{{{RDF}}}Description")

    def prefix(self, space: str) -> str:
        return PREFIXES.get(space) or self.prefixes.get(space) or "ns"


def empty() -> Packet:
    root = ET.Element(f"{{{META}}}xmpmeta")
    rdf = ET.SubElement(root, f"{{{RDF}}}RDF")
    ET.SubElement(rdf, f"{{{RDF}}}Description", {f"{{{RDF}}}about": ""})
    return Packet(root, {})


def parse(data: bytes) -> Packet:
    """Read a packet. It may have no document type, hence no entities of its own: nothing to expand, or to fetch.

    Raises:
        XmpError: it isn't well-formed, or too large or deep.
    """
    if len(data) > MAX_PACKET_BYTES:
        raise XmpError(f"it has more than {MAX_PACKET_BYTES >> 20} MiB")
    builder, prefixes = _Builder(), dict[str, str]()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.tree.data
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.StartNamespaceDeclHandler = lambda prefix, space: prefixes.setdefault(space or "", prefix or "")
    try:
        parser.Parse(data.strip(b"\0 \t\r\n"), True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise XmpError(str(error)) from error
    return Packet(builder.tree.close(), {space: prefix for space, prefix in prefixes.items() if prefix})


def _refuse(*_told: object) -> None:
    raise XmpError("it declares a document type, which XMP never has")


class _Builder:
    def __init__(self) -> None:
        self.tree = ET.TreeBuilder()
        self._depth = self._elements = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > MAX_DEPTH or self._elements > MAX_ELEMENTS:
            raise XmpError("it is nested too deeply, or has too many elements")
        self.tree.start(_tag(name), {_tag(each): value for each, value in attributes.items()})

    def end(self, name: str) -> None:
        self._depth -= 1
        self.tree.end(_tag(name))


def _tag(name: str) -> str:
    return "{" + name if "}" in name else name


def name_of(tag: str) -> Name:
    space, _, local = tag.rpartition("}")
    return space[1:], local


def flat(packet: Packet) -> dict[str, Texts]:
    """Values by qualified names; lists of plain values as tuples, nested ones by their paths."""
    values: dict[str, Texts] = {}
    for description in packet.descriptions():
        for path, value in _properties(packet, description, ""):
            if len(values) >= MAX_VALUES:
                return values
            values.setdefault(path, value)
    return values


def _properties(packet: Packet, element: ET.Element, path: str) -> Iterator[tuple[str, Texts]]:
    for tag, text in element.attrib.items():
        if name_of(tag)[0] not in (RDF, XML, ""):
            yield path + _qualified(packet, tag), text[:MAX_TEXT]
    for child in element:
        yield from _values(packet, child, path + _qualified(packet, child.tag))


def _values(packet: Packet, element: ET.Element, path: str) -> Iterator[tuple[str, Texts]]:
    resource = element.get(f"{{{RDF}}}resource")
    if resource is not None:
        yield path, resource[:MAX_TEXT]
    items = [item for kind in ("Seq", "Bag", "Alt") for item in element.findall(f"{{{RDF}}}{kind}/{{{RDF}}}li")]
    if items:
        yield from _items(packet, element, items, path)
        return
    inner = element.find(f"{{{RDF}}}Description")
    if inner is not None:
        yield from _properties(packet, inner, f"{path}/")
    elif len(element) or any(name_of(tag)[0] not in (RDF, XML, "") for tag in element.attrib):
        yield from _properties(packet, element, f"{path}/")
    elif (element.text or "").strip():
        yield path, (element.text or "").strip()[:MAX_TEXT]


def _items(packet: Packet, element: ET.Element, items: list[ET.Element], path: str) -> Iterator[tuple[str, Texts]]:
    if element.find(f"{{{RDF}}}Alt") is not None:
        for item in items:
            language = item.get(f"{{{XML}}}lang", "x-default")
            yield path if language == "x-default" else f"{path}[{language}]", (item.text or "").strip()[:MAX_TEXT]
    elif any(len(item) or any(name_of(tag)[0] not in (RDF, XML, "") for tag in item.attrib) for item in items):
        for number, item in enumerate(items, 1):
            yield from _values(packet, item, f"{path}[{number}]")
    else:
        yield path, tuple((item.text or "").strip()[:MAX_TEXT] for item in items)


def _qualified(packet: Packet, tag: str) -> str:
    space, local = name_of(tag)
    return f"{packet.prefix(space)}:{local}" if space else local


def serialise(packet: Packet) -> bytes:
    """The packet's bytes; its prefixes are those it had, or the usual ones. None where it says nothing."""
    if not any(_says(each) for each in packet.descriptions()):
        return b""
    spaces = {name_of(tag)[0] for each in packet.root.iter() for tag in (each.tag, *each.attrib)} - {"", XML}
    prefixes: dict[str, str] = {XML: "xml"}
    for number, space in enumerate(sorted(spaces)):
        prefix = packet.prefixes.get(space) or PREFIXES.get(space) or f"ns{number}"
        prefixes[space] = prefix if prefix not in prefixes.values() else f"{prefix}{number}x"
    declared = "".join(f" xmlns:{prefixes[space]}={quoteattr(space)}" for space in sorted(spaces))
    body = "".join(_written(packet.root, prefixes, declared))
    # The identifier is the specification's own; a reader finds packets by it.
    return f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{body}<?xpacket end="w"?>'.encode()


def _says(description: ET.Element) -> bool:
    return len(description) > 0 or any(name_of(tag)[0] not in (RDF, XML, "") for tag in description.attrib)


def _written(element: ET.Element, prefixes: dict[str, str], declared: str = "") -> Iterator[str]:
    name = _prefixed(element.tag, prefixes)
    attributes = "".join(f" {_prefixed(tag, prefixes)}={quoteattr(text)}" for tag, text in element.attrib.items())
    yield f"<{name}{declared}{attributes}>"
    yield escape(element.text or "") if not len(element) or (element.text or "").strip() else ""
    for child in element:
        yield from _written(child, prefixes)
    yield f"</{name}>"


def _prefixed(tag: str, prefixes: dict[str, str]) -> str:
    space, local = name_of(tag)
    return f"{prefixes[space]}:{local}" if space else local
