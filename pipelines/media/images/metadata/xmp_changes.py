"""Keep, drop or set some of the properties of an XMP packet."""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable

from pipelines.media.images.metadata.metadata_spec import MetadataSpec, Strip
from pipelines.media.images.metadata.xmp import Packet, name_of, serialise
from pipelines.media.images.metadata.xmp_names import (
    APPLE_AUX,
    APPLE_MAP,
    CAMERA,
    CONTAINER,
    CREDIT,
    DC,
    EXIF,
    GAIN_MAP,
    GEO,
    ITEM,
    NOTE,
    OF_OLD_NAMES,
    OF_OLD_PIXELS,
    PHOTOSHOP,
    PLACE_NAME,
    PLACE_NAMES,
    PLACE_TEXT,
    PLUS,
    PLUS_KEPT,
    RDF,
    RIGHTS,
    SETTINGS,
    SETTINGS_NOT,
    TIFF,
    XML,
    Name,
)


def _top(packet: Packet, gone: Callable[[Name], bool]) -> None:
    """Drop properties by their names."""
    for description in packet.descriptions():
        _drop(description, lambda name, _text: gone(name))


def _drop(element: ET.Element, gone: Callable[[Name, str], bool], deep: bool = False) -> None:
    for tag, text in list(element.attrib.items()):
        name = name_of(tag)
        about = name_of(element.tag) if name == (RDF, "resource") else name
        if about[0] not in (RDF, XML, "") and gone(about, text):
            del element.attrib[tag]
    for child in list(element):
        if name_of(child.tag)[0] != RDF and gone(name_of(child.tag), child.text or ""):
            element.remove(child)
        elif deep:
            if name_of(child.tag) == (RDF, "li") and gone(("", ""), child.text or ""):
                element.remove(child)
            else:
                _drop(child, gone, deep=True)


def _is_place(name: Name, text: str) -> bool:
    space, local = name
    return space == GEO or local in PLACE_NAMES or bool(PLACE_NAME.search(local)) or bool(PLACE_TEXT.search(text))


def has_gps(packet: Packet) -> bool:
    """Whether anything in a packet tells a place."""
    for element in packet.root.iter():
        name = name_of(element.tag)
        if _is_place(_own(name), element.text or ""):
            return True
        if any(_is_place(_own(name_of(tag)), text) for tag, text in element.attrib.items()):
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
    return name if name[0] not in (RDF, XML, "") else ("", "")


def _clear_subjects(packet: Packet) -> None:
    """What is told is told of this file: no other name of it is needed, which may hold anything."""
    for element in packet.root.iter():
        for tag in [tag for tag in element.attrib if name_of(tag) in ((RDF, "about"), (RDF, "ID"))]:
            if name_of(tag)[1] == "about":
                element.attrib[tag] = ""
            else:
                del element.attrib[tag]


def _only_rdf(packet: Packet) -> None:
    """A packet's root may have anything beside its RDF, the writing program's name for one."""
    if name_of(packet.root.tag) != (RDF, "RDF"):
        packet.root.attrib.clear()
        packet.root.text = None
        for child in list(packet.root):
            if name_of(child.tag) != (RDF, "RDF"):
                packet.root.remove(child)


def _kept(name: Name, policy: Strip, gain_map: bool) -> bool:
    space, local = name
    if gain_map and space in (GAIN_MAP, CONTAINER, APPLE_AUX, APPLE_MAP):
        return True
    if name == (TIFF, "Orientation"):
        return True
    if policy == "all":
        return False
    if name in CREDIT | SETTINGS or (space == RIGHTS and local != "Owner"):
        return True
    return space == EXIF and local not in SETTINGS_NOT


def _settle_pictures(packet: Packet, gain_map: bool) -> None:
    """Drop what tells of films and pictures that are in the file no more."""
    _top(packet, lambda name: name[0] == CAMERA and name[1].startswith(("Motion", "MicroVideo")))
    if not gain_map:
        without_gain_map(packet)
    for sequence in packet.root.iter(f"{{{RDF}}}Seq"):
        for item in list(sequence):
            told = _item(item)
            if told is not None and told.get(f"{{{ITEM}}}Semantic") not in ("Primary", "GainMap"):
                sequence.remove(item)
            elif told is not None:
                told.attrib.pop(f"{{{ITEM}}}Padding", None)


def without_gain_map(packet: Packet) -> None:
    """Drop what tells of a gain map."""
    _top(packet, lambda name: name[0] in (GAIN_MAP, CONTAINER, APPLE_AUX, APPLE_MAP))


def without_more(packet: Packet) -> None:
    """Drop what tells of another packet, with what didn't fit into this one."""
    _top(packet, lambda name: name == (NOTE, "HasExtendedXMP"))


def _item(element: ET.Element) -> ET.Element | None:
    """What tells of one of a container's pictures."""
    return next((each for each in element.iter() if f"{{{ITEM}}}Semantic" in each.attrib), None)


def set_gain_map_bytes(packet: Packet, size_bytes: int) -> None:
    """Tell how large the gain map's file is: readers find it by that."""
    for element in packet.root.iter():
        if element.get(f"{{{ITEM}}}Semantic") == "GainMap":
            element.set(f"{{{ITEM}}}Length", str(size_bytes))


def set_values(packet: Packet, spec: MetadataSpec) -> None:
    """Set the values that are given, in place of what was there."""
    if spec.artist is not None:
        _set_list(packet, (DC, "creator"), "Seq", (spec.artist,))
        _top(packet, lambda name: name == (TIFF, "Artist"))
    if spec.copyright is not None:
        _set_language(packet, (DC, "rights"), spec.copyright)
        _top(packet, lambda name: name == (TIFF, "Copyright"))
    if spec.title is not None:
        _set_language(packet, (DC, "title"), spec.title)
    if spec.description is not None:
        _set_language(packet, (DC, "description"), spec.description)
        _top(packet, lambda name: name == (TIFF, "ImageDescription"))
    if spec.keywords is not None:
        _set_list(packet, (DC, "subject"), "Bag", spec.keywords)
    if spec.taken_at is not None:
        told = spec.taken_at.isoformat()
        for name in ((PHOTOSHOP, "DateCreated"), (EXIF, "DateTimeOriginal")):
            _replaced(packet, name).text = told


def set_credit(packet: Packet, artist: str | None, rights: str | None, credit: str | None) -> None:
    """Set what is missing."""
    if artist and not _has(packet, (DC, "creator")):
        _set_list(packet, (DC, "creator"), "Seq", (artist,))
    if rights and not _has(packet, (DC, "rights")):
        _set_language(packet, (DC, "rights"), rights)
    if credit and not _has(packet, (PHOTOSHOP, "Credit")):
        _replaced(packet, (PHOTOSHOP, "Credit")).text = credit


def _has(packet: Packet, name: Name) -> bool:
    tag = f"{{{name[0]}}}{name[1]}"
    return any(tag in each.attrib or each.find(tag) is not None for each in packet.descriptions())


def _replaced(packet: Packet, name: Name) -> ET.Element:
    _top(packet, lambda each: each == name)
    description = next(packet.descriptions(), None)
    if description is None:
        rdf = packet.root if packet.root.tag == f"{{{RDF}}}RDF" else packet.root.find(f"{{{RDF}}}RDF")
        rdf = ET.SubElement(packet.root, f"{{{RDF}}}RDF") if rdf is None else rdf
        description = ET.SubElement(rdf, f"{{{RDF}}}Description", {f"{{{RDF}}}about": ""})
    return ET.SubElement(description, f"{{{name[0]}}}{name[1]}")


def _set_list(packet: Packet, name: Name, kind: str, texts: Iterable[str]) -> None:
    items = ET.SubElement(_replaced(packet, name), f"{{{RDF}}}{kind}")
    for text in texts:
        ET.SubElement(items, f"{{{RDF}}}li").text = text


def _set_language(packet: Packet, name: Name, text: str) -> None:
    items = ET.SubElement(_replaced(packet, name), f"{{{RDF}}}Alt")
    ET.SubElement(items, f"{{{RDF}}}li", {f"{{{XML}}}lang": "x-default"}).text = text


def keep_credit(packet: Packet) -> None:
    """Drop all but who made a picture, whose it is, and on what terms."""
    _only_rdf(packet)
    _top(packet, lambda name: name not in CREDIT and name[0] != RIGHTS)
    for description in packet.descriptions():  # of a licensor, not how to reach them
        _drop(description, lambda name, _text: name[0] == PLUS and name[1] not in PLUS_KEPT, deep=True)


def settle_new_pixels(packet: Packet) -> None:
    """Drop what isn't true of pixels that are made anew: they're upright, and of a size and colour of their own."""
    _top(packet, lambda name: name[0] in OF_OLD_PIXELS or name in OF_OLD_NAMES)
    if _has(packet, (TIFF, "Orientation")):
        _replaced(packet, (TIFF, "Orientation")).text = "1"


def within(packet: Packet, limit_bytes: int) -> bytes:
    """The packet's bytes; without its largest properties where they would be too many."""
    data = serialise(packet)
    while len(data) > limit_bytes:
        parts = [
            (len(ET.tostring(child)), child.tag) for description in packet.descriptions() for child in description
        ] + [(len(text), tag) for description in packet.descriptions() for tag, text in description.attrib.items()]
        largest = name_of(max(parts)[1])
        _top(packet, lambda name, gone=largest: name == gone)  # type: ignore[misc]
        data = serialise(packet)
    return data
