"""Side-cars: small files beside media files that tell of them, as Kodi's NFO (XML), as JSON, or as a table (CSV)."""

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from pipelines.media.collecting.collecting_spec import Sidecar, Value
from pipelines.media.collecting.csv_rows import csv_rows
from pipelines.media.errors import LimitError, SourceUnsupportedError
from pipelines.media.source import Source, name_of, open_file

PATH = "path"  # the column of a table that names the files
_MOST_BYTES = {".nfo": 4 << 20, ".json": 4 << 20, ".csv": 32 << 20}
_MOST_FIELDS, _MOST_CHARACTERS = 200, 10_000  # of a file, and of a field
_DEPTH = 4  # of objects in objects


def read_sidecar(source: Source, wanted: tuple[str, ...] = ()) -> Sidecar:
    """Read a side-car; of a table the rows whose ``path`` is one of ``wanted``.

    Names of fields are in small letters, values are text; several of one name are a list. Objects in a JSON object are
    told as ``outer.inner``, the people of an NFO by their names.

    Raises:
        SourceError: it can't be read, or isn't what its name says.
        LimitError: it is too large.
    """
    suffix = os.path.splitext(name_of(source))[1].lower()  # noqa: PTH122 a descriptor has a name, not a path
    if suffix not in _MOST_BYTES:
        raise SourceUnsupportedError(f"{name_of(source)} is no side-car; these are: {', '.join(_MOST_BYTES)}.")
    data = _content(source, _MOST_BYTES[suffix])
    if suffix == ".csv":
        return Sidecar(fields=_of_table(data, name_of(source), frozenset(wanted)))
    read = _of_nfo if suffix == ".nfo" else _of_json
    return Sidecar(fields={"": _gathered(read(data, name_of(source)))})


def _content(source: Source, most_bytes: int) -> bytes:
    with io.BufferedReader(open_file(source)) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise LimitError(f"{name_of(source)} has more than {most_bytes >> 20} MiB; a side-car has less.")
    return data


def _of_nfo(data: bytes, name: str) -> Iterator[tuple[str, str]]:
    """Fields of what https://kodi.wiki/view/NFO_files describes; a link may follow the XML."""
    try:
        root = fromstring(data[: data.rfind(b">") + 1], forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise SourceUnsupportedError(f"{name} isn't XML that is read here: {_reason(error)}.") from error
    for child in root:
        yield from _of_element(child)


def _reason(error: Exception) -> str:
    return "it declares entities or a document type" if isinstance(error, DefusedXmlException) else str(error)


def _of_element(element: Element) -> Iterator[tuple[str, str]]:
    kind = element.get("type")  # <uniqueid type="imdb">
    name = f"{element.tag}.{kind}" if kind else element.tag
    person = element.find("name")
    text = element.text if person is None else person.text
    if text and text.strip():
        yield name, text
    elif person is None:
        for child in element:
            if child.text and child.text.strip():
                yield f"{name}.{child.tag}", child.text


def _of_json(data: bytes, name: str) -> Iterator[tuple[str, str]]:
    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceUnsupportedError(f"{name} isn't JSON: {error}.") from error
    if not isinstance(told, dict):
        raise SourceUnsupportedError(f"{name} holds no JSON object with fields.")
    yield from _of_object(told, "", _DEPTH)


def _of_object(told: Mapping[str, object], before: str, depth: int) -> Iterator[tuple[str, str]]:
    for name, value in told.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                if depth > 1:
                    yield from _of_object(each, f"{before}{name}.", depth - 1)
            elif isinstance(each, str):
                yield f"{before}{name}", each
            elif each is not None and not isinstance(each, list):
                yield f"{before}{name}", json.dumps(each)


def _of_table(data: bytes, name: str, wanted: frozenset[str]) -> dict[str, dict[str, Value]]:
    paths = ((path.removeprefix("./"), told) for path, told in csv_rows(data, name, (PATH,)))
    return {path: _gathered(told.items()) for path, told in paths if path in wanted}


def _gathered(pairs: Iterable[tuple[str, str]]) -> dict[str, Value]:
    """Each field once, with its values; empty ones are left out, and what is too much."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        name, value = _text(name).lower(), _text(value)
        if name and value and (name in found or len(found) < _MOST_FIELDS):
            values = found.setdefault(name, [])
            if value not in values and len(values) < _MOST_FIELDS:
                values.append(value)
    return {name: values[0] if len(values) == 1 else tuple(values) for name, values in found.items()}


def _text(given: str) -> str:
    """Without what is no character: JSON may have halves of them."""
    return given.strip()[:_MOST_CHARACTERS].encode(errors="replace").decode()
