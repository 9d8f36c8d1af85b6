"""A storyboard by keyframes against the decode of every frame that it saves."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av

from pipelines.media.storyboard.storyboard import storyboard
from pipelines.media.storyboard.storyboard_spec import StoryboardSpec
from tests.bench import program
from tests.bench.figures import Figure

_ROUNDS = 3


def storyboards() -> list[Figure]:
    """Ten minutes of 720p with a keyframe every 10 s: 100 tiles, the best of three rounds of each in turns."""
    if not program.MEDIA.is_dir():
        return []
    with tempfile.TemporaryDirectory() as name:
        film = program.long_gop_film(Path(name))
        by_keyframes, decodes = [], []
        for _ in range(_ROUNDS):
            by_keyframes.append(_told(film, Path(name), "keyframes"))
            decodes.append(_decode_s(film))
        auto = _told(film, Path(name), "auto")
    ours_s = min(told["took_s"] for told in by_keyframes)
    how = f"{program.LONG_GOP_FILM}, 100 tiles"
    return [
        Figure("decode of every frame by a storyboard's time (bar 20, more is better)", min(decodes) / ours_s, "x", 20),
        Figure("a storyboard by keyframes", ours_s, "s", None, how),
        Figure("a storyboard, auto", auto["took_s"], "s", None, how),
        Figure(
            "the farthest tile from its time (bar a GOP)", by_keyframes[0]["farthest_s"], "s", program.LONG_GOP_S, how
        ),
        Figure("peak memory of its process", by_keyframes[0]["peak_mib"], "MiB", None, how),
    ]


def _decode_s(film: Path) -> float:
    began = time.monotonic()
    with av.open(str(film)) as container:
        container.streams.video[0].thread_type = "AUTO"
        assert sum(1 for _ in container.decode(video=0)) == program.LONG_FILM_S * program.LONG_RATE
    return time.monotonic() - began


def _told(film: Path, folder: Path, mode: str) -> dict[str, float]:
    """In a process of its own, for its memory; its start isn't counted."""
    command = [sys.executable, "-m", "tests.bench.storyboard", film, folder, mode]
    told: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return told


def _main(film: str, folder: str, mode: str) -> None:
    began = time.monotonic()
    made = storyboard(Path(film), Path(folder), StoryboardSpec.model_validate({"mode": mode}), lambda _: None)
    took_s = time.monotonic() - began
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"took_s": took_s, "farthest_s": made.farthest_s, "peak_mib": peak_mib}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
