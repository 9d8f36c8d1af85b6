"""All that there is to tell of a film in one pass, against the five operations that tell it, each by itself."""

import datetime
import json
import tempfile
from pathlib import Path
from typing import Any

from tests.bench import program
from tests.bench.figures import Figure, median
from tests.live_server import LiveServer, live_server, settled

_ROUNDS = 3
_BAR = 0.6
_STILLS = 5
_APART: dict[str, dict[str, Any]] = {
    "probe": {"deep": True},
    "validate": {"level": "full"},
    "quality": {"full": True},
    "thumbnails": {"count": _STILLS, "telling": True},
    "storyboard": {},
}
# What is looped, and how often.
_FILMS = {"h264_aac51_720p_bbb.mp4": 24, "h264_aac_768x432_30s_cars.mp4": 2, "vp8_vorbis_720p_30s_bbb.webm": 4}


def inspection() -> list[Figure]:
    """Films of one to two minutes, as jobs of one server, in turns; one job at a time."""
    if not program.MEDIA.is_dir():
        return []
    with tempfile.TemporaryDirectory() as folder, live_server(MEDIARAY_ROOTS=json.dumps([folder])) as server:
        return [
            _figure(server, clip, settled(program.loop(clip, Path(folder) / f"{clip}.mkv", times)))
            for clip, times in _FILMS.items()
        ]


def _figure(server: LiveServer, clip: str, film: Path) -> Figure:
    together, apart = [], []
    for _ in range(_ROUNDS):
        together.append(_wall_s(server, film, "inspect", {"stills": _STILLS}))
        apart.append({name: _wall_s(server, film, name, params) for name, params in _APART.items()})
    shares = median([own / sum(each.values()) for own, each in zip(together, apart, strict=True)])
    told = ", ".join(f"{name} {median([each[name] for each in apart]):.2f}" for name in _APART)
    how = f"{_ROUNDS} rounds in turns; together {median(together):.2f} s; apart {told} s"
    return Figure(f"inspect, by the five run apart: {clip}", shares, "", _BAR, how)


def _wall_s(server: LiveServer, film: Path, operation: str, params: dict[str, Any]) -> float:
    """Seconds from when a job is accepted to when it is done; what was found out in a round before doesn't count."""
    job = server.wait(server.submit(operation, film, fresh=True, **params)["id"], limit_s=600)
    assert job["state"] == "succeeded", job
    began, ended = (datetime.datetime.fromisoformat(job[name]) for name in ("created_at", "finished_at"))
    return (ended - began).total_seconds()
