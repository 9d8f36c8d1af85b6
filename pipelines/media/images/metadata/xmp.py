"""XMP: parse a packet safely, tell it flat, keep or set some of its properties, write it again.

Source: XMP specification, part 1 (ISO 16684-1): the RDF that a packet may have, and what it means.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from pipelines.media.images.metadata.metadata_spec import MetadataSpec, Strip, Texts

MAX_PACKET_BYTES = 4 << 20
MAX_DEPTH = 32
MAX_ELEMENTS = 20_000
MAX_VALUES = 1000
MAX_TEXT = 2000

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XML = "http://www.w3.org/XML/1998/namespace"
_META = "adobe:ns:meta/"
DC = "http://purl.org/dc/elements/1.1/"
_XMP, _RIGHTS = "http://ns.adobe.com/xap/1.0/", "http://ns.adobe.com/xap/1.0/rights/"
_PHOTOSHOP, _TIFF = "http://ns.adobe.com/photoshop/1.0/", "http://ns.adobe.com/tiff/1.0/"
_EXIF, _EXIF_EX, _AUX = "http://ns.adobe.com/exif/1.0/", "http://cipa.jp/exif/1.0/", "http://ns.adobe.com/exif/1.0/aux/"
_PLUS, _CC = "http://ns.useplus.org/ldf/xmp/1.0/", "http://creativecommons.org/ns#"
_NOTE = "http://ns.adobe.com/xmp/note/"
GAIN_MAP = "http://ns.adobe.com/hdr-gain-map/1.0/"
_APPLE_MAP, _APPLE_AUX = "http://ns.apple.com/HDRGainMap/1.0/", "http://ns.apple.com/pixeldatainfo/1.0/"
_CAMERA = "http://ns.google.com/photos/1.0/camera/"
_CONTAINER = "http://ns.google.com/photos/1.0/container/"
_ITEM = "http://ns.google.com/photos/1.0/container/item/"
_PREFIXES = {
    _RDF: "rdf", _XML: "xml", _META: "x", DC: "dc", _XMP: "xmp", _RIGHTS: "xmpRights", _PHOTOSHOP: "photoshop",
    _TIFF: "tiff", _EXIF: "exif", _EXIF_EX: "exifEX", _AUX: "aux", _PLUS: "plus", _CC: "cc", _NOTE: "xmpNote",
    GAIN_MAP: "hdrgm", _APPLE_MAP: "HDRGainMap", _APPLE_AUX: "apdi", _CAMERA: "GCamera", _CONTAINER: "Container",
    _ITEM: "Item", "http://ns.adobe.com/xap/1.0/mm/": "xmpMM",
    "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#": "stEvt",
    "http://ns.adobe.com/xap/1.0/sType/ResourceRef#": "stRef", "http://ns.adobe.com/camera-raw-settings/1.0/": "crs",
    "http://ns.adobe.com/lightroom/1.0/": "lr", "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "Iptc4xmpCore",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
}  # fmt: skip

_GEO = "http://www.w3.org/2003/01/geo/wgs84_pos#"
_PLACE_NAME = re.compile(r"gps|latitude|longitude|altitude|location|makernote|^(lat|lon|long|lng)$", re.IGNORECASE)
_PLACE_NAMES = frozenset({"City", "State", "ProvinceState", "Country", "CountryCode", "CountryName", "WorldRegion"})
_PLACE_TEXT = re.compile(r"\b(gps|latitude|longitude)", re.IGNORECASE)

_CREDIT = frozenset(
    {
        (DC, "creator"), (DC, "rights"), (_PHOTOSHOP, "Credit"), (_TIFF, "Artist"), (_TIFF, "Copyright"),
        (_PLUS, "Licensor"), (_PLUS, "CopyrightOwner"), (_PLUS, "CreditLineRequired"), (_CC, "license"),
        (_CC, "attributionName"), (_CC, "attributionURL"), (_XMP, "WebStatement"),
    }
)  # fmt: skip
_SETTINGS = frozenset(
    {
        (_XMP, "CreateDate"), (_XMP, "ModifyDate"), (_PHOTOSHOP, "DateCreated"), (_EXIF, "DateTimeOriginal"),
        (_EXIF, "DateTimeDigitized"), (_TIFF, "DateTime"), (_TIFF, "Orientation"), (_TIFF, "Make"), (_TIFF, "Model"),
        (_AUX, "Lens"), (_AUX, "LensInfo"), (_EXIF_EX, "LensModel"), (_EXIF_EX, "LensSpecification"),
        (_EXIF_EX, "LensMake"), (_EXIF_EX, "PhotographicSensitivity"),
    }
)  # fmt: skip
_PLUS_KEPT = frozenset(
    {"Licensor", "LicensorName", "LicensorURL", "CopyrightOwner", "CopyrightOwnerName", "CreditLineRequired"}
)
_SETTINGS_NOT = frozenset({"MakerNote", "UserComment", "ImageUniqueID", "RelatedSoundFile"})
# Of a picture made anew it tells nothing that is true: gain maps, depth, other pictures, colour, thumbnails.
_OF_OLD_PIXELS = frozenset(
    {
        GAIN_MAP, _APPLE_MAP, _APPLE_AUX, _CAMERA, _CONTAINER, _ITEM, _NOTE, "http://ns.google.com/photos/1.0/depthmap/",
        "http://ns.google.com/photos/1.0/image/", "http://ns.google.com/photos/1.0/audio/",
    }
)  # fmt: skip
_OF_OLD_NAMES = frozenset(
    {(_XMP, "Thumbnails"), (_PHOTOSHOP, "ICCProfile"), (_PHOTOSHOP, "ColorMode"), (_EXIF, "ColorSpace"),
     (_EXIF, "PixelXDimension"), (_EXIF, "PixelYDimension"), (_TIFF, "ImageWidth"), (_TIFF, "ImageLength"),
     (_TIFF, "BitsPerSample"), (_TIFF, "PhotometricInterpretation"), (_TIFF, "Compression"),
     (_TIFF, "SamplesPerPixel"), (_TIFF, "PlanarConfiguration"), (_PHOTOSHOP, "DocumentAncestors")}
)  # fmt: skip

Name = tuple[str, str]  # namespace, name


class XmpError(ValueError):
    """A packet isn't XMP, or isn't read; it says why."""


@dataclass(frozen=True)
class Packet:
    """A parsed packet: its tree, and the prefixes that it has of its own."""

    root: ET.Element
    prefixes: dict[str, str]

    def descriptions(self) -> Iterator[ET.Element]:
        for rdf in self.root.iter(f"{{{_RDF}}}RDF"):
            yield from rdf.findall(f"{{{_RDF}}}Description")

    def prefix(self, space: str) -> str:
        return _PREFIXES.get(space) or self.prefixes.get(space) or "ns"


def empty() -> Packet:
    root = ET.Element(f"{{{_META}}}xmpmeta")
    rdf = ET.SubElement(root, f"{{{_RDF}}}RDF")
    ET.SubElement(rdf, f"{{{_RDF}}}Description", {f"{{{_RDF}}}about": ""})
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


def _name(tag: str) -> Name:
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
        if _name(tag)[0] not in (_RDF, _XML, ""):
            yield path + _qualified(packet, tag), text[:MAX_TEXT]
    for child in element:
        yield from _values(packet, child, path + _qualified(packet, child.tag))


def _values(packet: Packet, element: ET.Element, path: str) -> Iterator[tuple[str, Texts]]:
    resource = element.get(f"{{{_RDF}}}resource")
    if resource is not None:
        yield path, resource[:MAX_TEXT]
    items = [item for kind in ("Seq", "Bag", "Alt") for item in element.findall(f"{{{_RDF}}}{kind}/{{{_RDF}}}li")]
    if items:
        yield from _items(packet, element, items, path)
        return
    inner = element.find(f"{{{_RDF}}}Description")
    if inner is not None:
        yield from _properties(packet, inner, f"{path}/")
    elif len(element) or any(_name(tag)[0] not in (_RDF, _XML, "") for tag in element.attrib):
        yield from _properties(packet, element, f"{path}/")
    elif (element.text or "").strip():
        yield path, (element.text or "").strip()[:MAX_TEXT]


def _items(packet: Packet, element: ET.Element, items: list[ET.Element], path: str) -> Iterator[tuple[str, Texts]]:
    if element.find(f"{{{_RDF}}}Alt") is not None:
        for item in items:
            language = item.get(f"{{{_XML}}}lang", "x-default")
            yield path if language == "x-default" else f"{path}[{language}]", (item.text or "").strip()[:MAX_TEXT]
    elif any(len(item) or any(_name(tag)[0] not in (_RDF, _XML, "") for tag in item.attrib) for item in items):
        for number, item in enumerate(items, 1):
            yield from _values(packet, item, f"{path}[{number}]")
    else:
        yield path, tuple((item.text or "").strip()[:MAX_TEXT] for item in items)


def _qualified(packet: Packet, tag: str) -> str:
    space, local = _name(tag)
    return f"{packet.prefix(space)}:{local}" if space else local


def serialise(packet: Packet) -> bytes:
    """The packet's bytes; its prefixes are those it had, or the usual ones. None where it says nothing."""
    if not any(_says(each) for each in packet.descriptions()):
        return b""
    spaces = {_name(tag)[0] for each in packet.root.iter() for tag in (each.tag, *each.attrib)} - {"", _XML}
    prefixes: dict[str, str] = {_XML: "xml"}
    for number, space in enumerate(sorted(spaces)):
        prefix = packet.prefixes.get(space) or _PREFIXES.get(space) or f"ns{number}"
        prefixes[space] = prefix if prefix not in prefixes.values() else f"{prefix}{number}x"
    declared = "".join(f" xmlns:{prefixes[space]}={quoteattr(space)}" for space in sorted(spaces))
    body = "".join(_written(packet.root, prefixes, declared))
    # The identifier is the specification's own; a reader finds packets by it.
    return f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{body}<?xpacket end="w"?>'.encode()


def _says(description: ET.Element) -> bool:
    return len(description) > 0 or any(_name(tag)[0] not in (_RDF, _XML, "") for tag in description.attrib)


def _written(element: ET.Element, prefixes: dict[str, str], declared: str = "") -> Iterator[str]:
    name = _prefixed(element.tag, prefixes)
    attributes = "".join(f" {_prefixed(tag, prefixes)}={quoteattr(text)}" for tag, text in element.attrib.items())
    yield f"<{name}{declared}{attributes}>"
    yield escape(element.text or "") if not len(element) or (element.text or "").strip() else ""
    for child in element:
        yield from _written(child, prefixes)
    yield f"</{name}>"


def _prefixed(tag: str, prefixes: dict[str, str]) -> str:
    space, local = _name(tag)
    return f"{prefixes[space]}:{local}" if space else local


def _top(packet: Packet, gone: Callable[[Name], bool]) -> None:
    """Drop properties by their names."""
    for description in packet.descriptions():
        _drop(description, lambda name, _text: gone(name))


def _drop(element: ET.Element, gone: Callable[[Name, str], bool], deep: bool = False) -> None:
    for tag, text in list(element.attrib.items()):
        name = _name(tag)
        about = _name(element.tag) if name == (_RDF, "resource") else name
        if about[0] not in (_RDF, _XML, "") and gone(about, text):
            del element.attrib[tag]
    for child in list(element):
        if _name(child.tag)[0] != _RDF and gone(_name(child.tag), child.text or ""):
            element.remove(child)
        elif deep:
            if _name(child.tag) == (_RDF, "li") and gone(("", ""), child.text or ""):
                element.remove(child)
            else:
                _drop(child, gone, deep=True)


def _is_place(name: Name, text: str) -> bool:
    space, local = name
    return space == _GEO or local in _PLACE_NAMES or bool(_PLACE_NAME.search(local)) or bool(_PLACE_TEXT.search(text))


def has_gps(packet: Packet) -> bool:
    """Whether anything in a packet tells a place."""
    for element in packet.root.iter():
        name = _name(element.tag)
        if _is_place(_own(name), element.text or ""):
            return True
        if any(_is_place(_own(_name(tag)), text) for tag, text in element.attrib.items()):
            return True
    return False


def strip(packet: Packet, policy: Strip, gain_map: bool) -> None:
    """Drop what a policy doesn't keep. ``gain_map``: a gain map stays in the file, and what tells of it."""
    if policy == "nothing":
        return
    _settle_pictures(packet, gain_map)
    _clear_subjects(packet)
    if policy == "gps":
        _only_rdf(packet)
        for description in packet.descriptions():
            _drop(description, _is_place, deep=True)
        return
    _only_rdf(packet)
    _top(packet, lambda name: not _kept(name, policy, gain_map))
    for description in packet.descriptions():
        _drop(description, _is_place, deep=True)


def _own(name: Name) -> Name:
    """A property's name; of RDF's and XML's none, whose texts are looked at all the same."""
    return name if name[0] not in (_RDF, _XML, "") else ("", "")


def _clear_subjects(packet: Packet) -> None:
    """What is told is told of this file: no other name of it is needed, which may hold anything."""
    for element in packet.root.iter():
        for tag in [tag for tag in element.attrib if _name(tag) in ((_RDF, "about"), (_RDF, "ID"))]:
            if _name(tag)[1] == "about":
                element.attrib[tag] = ""
            else:
                del element.attrib[tag]


def _only_rdf(packet: Packet) -> None:
    """A packet's root may have anything beside its RDF, the writing program's name for one."""
    if _name(packet.root.tag) != (_RDF, "RDF"):
        packet.root.attrib.clear()
        packet.root.text = None
        for child in list(packet.root):
            if _name(child.tag) != (_RDF, "RDF"):
                packet.root.remove(child)


def _kept(name: Name, policy: Strip, gain_map: bool) -> bool:
    space, local = name
    if gain_map and space in (GAIN_MAP, _CONTAINER, _APPLE_AUX, _APPLE_MAP):
        return True
    if name == (_TIFF, "Orientation"):
        return True
    if policy == "all":
        return False
    if name in _CREDIT | _SETTINGS or (space == _RIGHTS and local != "Owner"):
        return True
    return space == _EXIF and local not in _SETTINGS_NOT


def _settle_pictures(packet: Packet, gain_map: bool) -> None:
    """Drop what tells of films and pictures that are in the file no more."""
    _top(packet, lambda name: name[0] == _CAMERA and name[1].startswith(("Motion", "MicroVideo")))
    if not gain_map:
        without_gain_map(packet)
    for sequence in packet.root.iter(f"{{{_RDF}}}Seq"):
        for item in list(sequence):
            told = _item(item)
            if told is not None and told.get(f"{{{_ITEM}}}Semantic") not in ("Primary", "GainMap"):
                sequence.remove(item)
            elif told is not None:
                told.attrib.pop(f"{{{_ITEM}}}Padding", None)


def without_gain_map(packet: Packet) -> None:
    """Drop what tells of a gain map."""
    _top(packet, lambda name: name[0] in (GAIN_MAP, _CONTAINER, _APPLE_AUX, _APPLE_MAP))


def without_more(packet: Packet) -> None:
    """Drop what tells of another packet, with what didn't fit into this one."""
    _top(packet, lambda name: name == (_NOTE, "HasExtendedXMP"))


def _item(element: ET.Element) -> ET.Element | None:
    """What tells of one of a container's pictures."""
    return next((each for each in element.iter() if f"{{{_ITEM}}}Semantic" in each.attrib), None)


def set_gain_map_bytes(packet: Packet, size_bytes: int) -> None:
    """Tell how large the gain map's file is: readers find it by that."""
    for element in packet.root.iter():
        if element.get(f"{{{_ITEM}}}Semantic") == "GainMap":
            element.set(f"{{{_ITEM}}}Length", str(size_bytes))


def set_values(packet: Packet, spec: MetadataSpec) -> None:
    """Set the values that are given, in place of what was there."""
    if spec.artist is not None:
        _set_list(packet, (DC, "creator"), "Seq", (spec.artist,))
        _top(packet, lambda name: name == (_TIFF, "Artist"))
    if spec.copyright is not None:
        _set_language(packet, (DC, "rights"), spec.copyright)
        _top(packet, lambda name: name == (_TIFF, "Copyright"))
    if spec.title is not None:
        _set_language(packet, (DC, "title"), spec.title)
    if spec.description is not None:
        _set_language(packet, (DC, "description"), spec.description)
        _top(packet, lambda name: name == (_TIFF, "ImageDescription"))
    if spec.keywords is not None:
        _set_list(packet, (DC, "subject"), "Bag", spec.keywords)
    if spec.taken_at is not None:
        told = spec.taken_at.isoformat()
        for name in ((_PHOTOSHOP, "DateCreated"), (_EXIF, "DateTimeOriginal")):
            _replaced(packet, name).text = told


def set_credit(packet: Packet, artist: str | None, rights: str | None, credit: str | None) -> None:
    """Set what is missing."""
    if artist and not _has(packet, (DC, "creator")):
        _set_list(packet, (DC, "creator"), "Seq", (artist,))
    if rights and not _has(packet, (DC, "rights")):
        _set_language(packet, (DC, "rights"), rights)
    if credit and not _has(packet, (_PHOTOSHOP, "Credit")):
        _replaced(packet, (_PHOTOSHOP, "Credit")).text = credit


def _has(packet: Packet, name: Name) -> bool:
    tag = f"{{{name[0]}}}{name[1]}"
    return any(tag in each.attrib or each.find(tag) is not None for each in packet.descriptions())


def _replaced(packet: Packet, name: Name) -> ET.Element:
    _top(packet, lambda each: each == name)
    description = next(packet.descriptions(), None)
    if description is None:
        rdf = packet.root if packet.root.tag == f"{{{_RDF}}}RDF" else packet.root.find(f"{{{_RDF}}}RDF")
        rdf = ET.SubElement(packet.root, f"{{{_RDF}}}RDF") if rdf is None else rdf
        description = ET.SubElement(rdf, f"{{{_RDF}}}Description", {f"{{{_RDF}}}about": ""})
    return ET.SubElement(description, f"{{{name[0]}}}{name[1]}")


def _set_list(packet: Packet, name: Name, kind: str, texts: Iterable[str]) -> None:
    items = ET.SubElement(_replaced(packet, name), f"{{{_RDF}}}{kind}")
    for text in texts:
        ET.SubElement(items, f"{{{_RDF}}}li").text = text


def _set_language(packet: Packet, name: Name, text: str) -> None:
    items = ET.SubElement(_replaced(packet, name), f"{{{_RDF}}}Alt")
    ET.SubElement(items, f"{{{_RDF}}}li", {f"{{{_XML}}}lang": "x-default"}).text = text


def keep_credit(packet: Packet) -> None:
    """Drop all but who made a picture, whose it is, and on what terms."""
    _only_rdf(packet)
    _top(packet, lambda name: name not in _CREDIT and name[0] != _RIGHTS)
    for description in packet.descriptions():  # of a licensor, not how to reach them
        _drop(description, lambda name, _text: name[0] == _PLUS and name[1] not in _PLUS_KEPT, deep=True)


def settle_new_pixels(packet: Packet) -> None:
    """Drop what isn't true of pixels that are made anew: they're upright, and of a size and colour of their own."""
    _top(packet, lambda name: name[0] in _OF_OLD_PIXELS or name in _OF_OLD_NAMES)
    if _has(packet, (_TIFF, "Orientation")):
        _replaced(packet, (_TIFF, "Orientation")).text = "1"


def within(packet: Packet, limit_bytes: int) -> bytes:
    """The packet's bytes; without its largest properties where they would be too many."""
    data = serialise(packet)
    while len(data) > limit_bytes:
        parts = [
            (len(ET.tostring(child)), child.tag) for description in packet.descriptions() for child in description
        ] + [(len(text), tag) for description in packet.descriptions() for tag, text in description.attrib.items()]
        largest = _name(max(parts)[1])
        _top(packet, lambda name, gone=largest: name == gone)  # type: ignore[misc]
        data = serialise(packet)
    return data
