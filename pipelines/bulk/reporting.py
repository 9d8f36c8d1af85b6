"""What a collection is like, in figures: kinds and formats, sizes, quality, waste, failures."""

from typing import Any

from pydantic import BaseModel

from pipelines.bulk.collection import Collection
from pipelines.bulk.conditions import check_condition
from pipelines.bulk.upkeep import TaskSummary, summary
from pipelines.bulk.view import CollectionView, task_prefixes

_FAR_ABOVE = 3.0  # times the bits per pixel that are usual
_FEWEST = 5  # files of a kind and codec: of fewer nothing is usual
_LEAST_GAIN = 100_000  # bytes; of a small file the header takes most
_LISTED = 100  # wasteful files
_GROUPS = 20  # of each list
_BINS = 10  # of quality scores, which go from 0 to 100
_COLUMNS = (
    *(
        "uri",
        "path",
        "state",
        "code",
        "message",
        "kind",
        "size_bytes",
        "modified_at",
        "format",
        "duration_s",
        "frames",
        "bit_rate_bps",
        "width",
    ),
    *("height", "video_codec", "frame_rate", "audio_codec", "quality_score"),
)


class Group(BaseModel, frozen=True, extra="forbid"):
    """Files that have something in common, which ``name`` tells; None where it isn't known."""

    name: str | None
    files: int
    size_bytes: int
    duration_s: float | None = None


class Bin(BaseModel, frozen=True, extra="forbid"):
    """Files whose quality score is ``least`` or more, and less than ten above; the last has 100, too."""

    kind: str
    least: int
    files: int


class Wasteful(BaseModel, frozen=True, extra="forbid"):
    """A file with far more bits for each pixel than is ``usual`` here for its kind and codec.

    ``gain_bytes``: how much smaller it were with as many as is usual.
    """

    path: str
    uri: str
    kind: str
    codec: str
    size_bytes: int
    bits_per_pixel: float
    usual: float
    gain_bytes: int


class Waste(BaseModel, frozen=True, extra="forbid"):
    """The files that are wasteful; those that would gain most are ``listed``."""

    files: int
    gain_bytes: int
    listed: tuple[Wasteful, ...]


class Failed(BaseModel, frozen=True, extra="forbid"):
    """Files that a task, or the import where there is none, failed with for the same reason; one of them in words."""

    task: str | None
    code: str
    files: int
    example: str


class Report(BaseModel, frozen=True, extra="forbid"):
    """``described`` of the files have been looked into: they have a format. The others count with their kind only."""

    collection: str
    files: int
    described: int
    size_bytes: int
    duration_s: float
    missing: int
    unreadable: int
    kinds: tuple[Group, ...]
    formats: tuple[Group, ...]
    video_codecs: tuple[Group, ...]
    audio_codecs: tuple[Group, ...]
    heights: tuple[Group, ...]
    sizes: tuple[Group, ...]
    years: tuple[Group, ...]
    quality: tuple[Bin, ...]
    waste: Waste
    failures: tuple[Failed, ...]
    tasks: tuple[TaskSummary, ...]


def report_on(collection: Collection, where: str | None) -> Report:
    """The figures of the files that meet a condition. Raises InvalidError where it can't be answered."""
    condition = "state = 'unreadable' OR state = 'present'" + (f" AND ({where}\n)" if where is not None else "")
    if where is not None:
        check_condition(where)
    told = [f"{prefix}_{name}" for prefix in task_prefixes(collection) for name in ("state", "code", "message")]
    columns = ", ".join((*_COLUMNS, *told))
    known = summary(collection)
    with CollectionView(collection, f"{columns} {condition}") as view:
        view.keep("found", f"SELECT {columns} FROM files WHERE {condition}")  # noqa: S608 of columns and checked
        view.keep("chosen", "SELECT * FROM found WHERE state = 'present'")
        totals = _one(view, _TOTALS)
        return Report(
            collection=collection.name,
            missing=known.missing,
            unreadable=known.unreadable,
            tasks=known.tasks,
            **totals,
            **{name: tuple(_groups(view, *of)) for name, of in _GROUPINGS.items()},
            quality=tuple(Bin(**row) for row in _rows(view, _QUALITY)),
            waste=_waste(view),
            failures=tuple(_failures(view, list(view.tasks))),
        )


_TOTALS = """
    SELECT count(*) AS files, count(format) AS described, coalesce(sum(size_bytes), 0)::BIGINT AS size_bytes,
        coalesce(sum(duration_s), 0)::DOUBLE AS duration_s
    FROM chosen"""
_HEIGHT = """CASE WHEN height >= 2160 THEN '2160 and more' WHEN height >= 1440 THEN '1440 to 2159'
    WHEN height >= 1080 THEN '1080 to 1439' WHEN height >= 720 THEN '720 to 1079' WHEN height >= 480 THEN '480 to 719'
    ELSE 'less than 480' END"""
_SIZE = """CASE WHEN size_bytes < 100e3 THEN 'less than 100 kB' WHEN size_bytes < 1e6 THEN '100 kB to 1 MB'
    WHEN size_bytes < 10e6 THEN '1 to 10 MB' WHEN size_bytes < 100e6 THEN '10 to 100 MB'
    WHEN size_bytes < 1e9 THEN '100 MB to 1 GB' ELSE 'more than 1 GB' END"""
_BY_SIZE = "size_bytes DESC, name"
_GROUPINGS = {  # by what, of which files, and in which order
    "kinds": ("kind", "TRUE", _BY_SIZE),
    "formats": ("format", "TRUE", _BY_SIZE),
    "video_codecs": ("video_codec", "kind = 'video'", _BY_SIZE),
    "audio_codecs": ("audio_codec", "kind IN ('video', 'audio')", _BY_SIZE),
    "heights": (_HEIGHT, "kind IN ('video', 'image') AND height IS NOT NULL", "min(height) DESC"),
    "sizes": (_SIZE, "TRUE", "min(chosen.size_bytes)"),
    "years": ("year(modified_at)::VARCHAR", "TRUE", "name DESC"),
}
_QUALITY = f"""
    SELECT kind, (least(floor(quality_score / {_BINS}), {_BINS - 1}) * {_BINS})::INTEGER AS least, count(*) AS files
    FROM chosen WHERE quality_score IS NOT NULL GROUP BY ALL ORDER BY ALL"""  # noqa: S608 of constants
_DENSE = f"""
    WITH dense AS (
        SELECT path, uri, kind, size_bytes, CASE kind WHEN 'image' THEN format ELSE video_codec END AS codec,
            CASE kind WHEN 'image' THEN size_bytes * 8.0 / (width * height * greatest(coalesce(frames, 1), 1))
                ELSE bit_rate_bps / (width * height * frame_rate) END AS bits_per_pixel
        FROM chosen WHERE kind IN ('video', 'image') AND width > 0 AND height > 0
    ), usual AS (
        SELECT kind, codec, median(bits_per_pixel) AS usual
        FROM dense WHERE bits_per_pixel > 0 GROUP BY ALL HAVING count(*) >= {_FEWEST}
    )
    SELECT dense.*, usual, (size_bytes * (1 - usual / bits_per_pixel))::BIGINT AS gain_bytes
    FROM dense JOIN usual USING (kind, codec)
    WHERE bits_per_pixel > {_FAR_ABOVE} * usual AND isfinite(bits_per_pixel) AND gain_bytes >= {_LEAST_GAIN}
    ORDER BY gain_bytes DESC, uri"""  # noqa: S608 of constants


def _groups(view: CollectionView, by: str, only: str, order: str) -> list[Group]:
    statement = f"""
        SELECT {by} AS name, count(*) AS files, sum(size_bytes)::BIGINT AS size_bytes,
            sum(duration_s)::DOUBLE AS duration_s
        FROM chosen WHERE {only} GROUP BY 1 ORDER BY {order}"""  # noqa: S608 of constants
    groups = [Group(**row) for row in _rows(view, statement)]
    if len(groups) <= _GROUPS:
        return groups
    rest = groups[_GROUPS - 1 :]
    others = Group(
        name="others",
        files=sum(each.files for each in rest),
        size_bytes=sum(each.size_bytes for each in rest),
        duration_s=sum(each.duration_s or 0.0 for each in rest),
    )
    return [*groups[: _GROUPS - 1], others]


def _waste(view: CollectionView) -> Waste:
    found = [Wasteful(**row) for row in _rows(view, _DENSE)]
    return Waste(files=len(found), gain_bytes=sum(each.gain_bytes for each in found), listed=tuple(found[:_LISTED]))


def _failures(view: CollectionView, prefixes: list[str]) -> list[Failed]:
    """Of the import every row of the collection counts: what can't be read was never chosen."""
    found = [("NULL", "code", "message", "found WHERE state = 'unreadable'")]
    found += [
        (f"'{each}'", f"{each}_code", f"{each}_message", f"chosen WHERE {each}_state = 'failed'") for each in prefixes
    ]
    rows: list[dict[str, Any]] = []
    for task, code, message, origin in found:
        rows += _rows(
            view,
            f"SELECT {task}::VARCHAR AS task, coalesce({code}, 'unknown') AS code, count(*) AS files, "  # noqa: S608
            f"coalesce(min({message}), '') AS example FROM {origin} GROUP BY ALL ORDER BY files DESC, code",
        )
    return [Failed(**row) for row in rows]


def _rows(view: CollectionView, statement: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = view.told(statement).to_pylist()
    return rows


def _one(view: CollectionView, statement: str) -> dict[str, Any]:
    return _rows(view, statement)[0]
