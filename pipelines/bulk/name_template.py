"""Names of exported files, by a template with fields of the collection's view: ``{kind}/{year}/{name}``."""

import string
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from cluster.object_paths import writable_key
from pipelines.bulk.collection import Collection
from pipelines.bulk.safe_names import apart, safe_path
from pipelines.bulk.technical import TECHNICAL
from pipelines.bulk.view import OWN, CollectionView

_PATHS = frozenset({"path", "folder"})  # they lead through folders: of others a slash is no more than a sign
_DERIVED = ("name", "stem", "suffix", "folder", "year", "month", "day")
FIELDS = frozenset((*OWN, *(each.name for each in TECHNICAL), *_DERIVED)) - {"uri", "code", "message"}
_UNKNOWN = "unknown"


def checked_template(template: str) -> str:
    """The template. Raises ValueError where it names what isn't a field, or no name would come of it."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{template!r} is no template: {error}") from error
    for _, field, spec, conversion in parts:
        if field in FIELDS and (spec or conversion):
            raise ValueError(f"A template has no formats and conversions: write {{{field}}} alone")
        if field is not None and field not in FIELDS:
            raise ValueError(f"{{{field}}} can't be used. These can: {', '.join(sorted(FIELDS))}")
    if all(field is None for _, field, _, _ in parts):
        raise ValueError(f"{template!r} names no field: all files would have one name")
    return template


def columns_of(template: str) -> tuple[str, ...]:
    """The columns of the view that a template needs."""
    named = {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}
    return tuple(sorted(named - set(_DERIVED)))


def name_of(template: str, row: Mapping[str, Any], *, key: bool = False) -> str:
    """The safe path of a file, of whose row at least ``path`` and ``modified_at`` are known, below the export.

    As a ``key``, it is one that objects are taken with.
    """
    fields = {**row, **_derived(row)}
    told = []
    for literal, field, _, _ in string.Formatter().parse(template):
        told.append(literal)
        if field is not None:
            text = _text(fields.get(field))
            told.append(text if field in _PATHS else text.replace("/", "_"))
    safe = safe_path("".join(told))
    return writable_key(safe) if key else safe


def names_by(template: str, collection: Collection, *, keys: bool = False) -> dict[str, str]:
    """What each file of a collection is called, by its URI: no two the same. With ``keys``, as objects are."""
    columns = ", ".join(dict.fromkeys(("uri", "path", "root", "modified_at", *columns_of(template))))
    with CollectionView(collection, columns) as view:
        rows = view.told(f"SELECT {columns} FROM files").to_pylist()  # noqa: S608 of names that are ours
    uris = [row["uri"] for row in rows]
    return dict(zip(uris, apart([name_of(template, row, key=keys) for row in rows], uris), strict=True))


def _derived(row: Mapping[str, Any]) -> dict[str, Any]:
    path, at = PurePosixPath(row["path"]), row["modified_at"]
    return {
        "root": PurePosixPath(row["root"]).name or _UNKNOWN,
        "name": path.name,
        "stem": path.stem,
        "suffix": path.suffix,
        "folder": "" if str(path.parent) == "." else str(path.parent),
        "year": f"{at:%Y}" if at else None,
        "month": f"{at:%m}" if at else None,
        "day": f"{at:%d}" if at else None,
    }


def _text(value: Any) -> str:
    if value is None:
        return _UNKNOWN
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H%M%S}"
    return f"{value:g}" if isinstance(value, float) else str(value)
