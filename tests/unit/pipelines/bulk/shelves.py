"""A collection with known rows: two films, two pictures and a sound; of a film and a picture nothing could be told."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.bulk.collection import FILES, RESULTS, Collection
from pipelines.bulk.tables import AT
from pipelines.bulk.tasks import Task, task_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PROBE = task_of("probe", {})
ANALYSIS = task_of("image-analyze", {})
COVER = {"kind": "video", "codec": "png", "attached_picture": True, "display_width": 600, "display_height": 600}
FILM = {
    "container": "matroska,webm",
    "duration_s": 60.0,
    "bit_rate_bps": 4_000_000,
    "tags": {"title": "Nosferatu"},
    "streams": [
        COVER,
        {"kind": "audio", "codec": "aac", "sample_rate_hz": 48_000, "channels": 6, "language": "de"},
        {
            **{"kind": "video", "codec": "h264", "attached_picture": False, "frame_rate": "30000/1001"},
            **{"display_width": 1920, "display_height": 1080, "pixel_format": "yuv420p", "bit_depth": 8, "hdr": "sdr"},
        },
    ],
}
SOUND = {
    "container": "flac",
    "duration_s": 3.5,
    "bit_rate_bps": 900_000,
    "streams": [{"kind": "audio", "codec": "flac", "sample_rate_hz": 44_100, "channels": 2}],
    "sound": {"tracks": [{"integrated_lufs": -14.2, "true_peak_dbtp": -1.0}]},
}
PICTURE = {
    "source": {"format": "jpeg", "width": 4000, "height": 3000, "bits": 8, "frames": 1, "hdr": False},
    "quality": {"score": 71.5},
    "phash": "ffee000011112222",
    "palette": [{"hex": "#aa5500"}],
}
KINDS = {"a.mkv": "video", "b.mkv": "video", "c.jpg": "image", "d.jpg": "image", "e.flac": "audio"}


def shelf(home: Path, files: Sequence[Mapping[str, Any]] | None = None, name: str = "shelf") -> Collection:
    """The collection; ``files`` are its rows, if not those five."""
    collection = Collection.named(home, name)
    rows = [row(each, kind) for each, kind in KINDS.items()] if files is None else files
    collection.files.append("all", pa.Table.from_pylist(rows, FILES))
    if files is None:
        tell(collection, PROBE, {"a.mkv": FILM, "e.flac": SOUND}, failed=["b.mkv"])
        tell(collection, ANALYSIS, {"c.jpg": PICTURE}, failed=["d.jpg"])
    return collection


def row(path: str, kind: str = "image", **changes: Any) -> dict[str, Any]:
    return {
        "uri": f"/media/{path}",
        "path": path,
        "root": "/media",
        "identity": f"identity of {path}",
        "stamp": None,
        "size_bytes": 1000 * len(path),
        "modified_at": NOON,
        "kind": kind,
        "state": "present",
        AT: NOON,
        **changes,
    }


def tell(collection: Collection, task: Task, results: Mapping[str, Any], failed: Sequence[str] = ()) -> None:
    """Put what came of a task into a collection."""
    uris = dict(
        zip(*(collection.files.read(("path", "uri"))[name].to_pylist() for name in ("path", "uri")), strict=True)
    )
    of = {path: f"identity of {path}" if task.of == "identity" else uris[path] for path in (*results, *failed)}
    done = [
        {"identity": of[path], "state": "done", "result": json.dumps(result), "artifacts": [], AT: NOON}
        for path, result in results.items()
    ]
    broken = [
        {
            **{"identity": of[path], "state": "failed", "attempts": 3, "artifacts": [], AT: NOON},
            **{"code": "media_invalid", "message": f"{path} isn't what its name says."},
        }
        for path in failed
    ]
    collection.results(task).append("told", pa.Table.from_pylist([*done, *broken], RESULTS))
