"""Telling stills of a long film, against what people have the ffmpeg program do; and how long a preview takes."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipelines.media.preview.preview import preview
from pipelines.media.preview.preview_spec import PreviewSpec
from pipelines.media.stills import stills
from pipelines.media.stills_spec import StillsSpec
from tests.bench import program
from tests.bench.figures import Figure

_STILLS, _SIZE = 10, "320"
_ROUNDS = 3


def thumbnails() -> list[Figure]:
    """Ten stills of ten minutes of 720p with a keyframe every 10 s, the best of three rounds of each in turns."""
    if not program.MEDIA.is_dir():
        return []
    ours, filtered, among_keyframes, previews = [], [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = program.long_gop_film(folder)
        for _ in range(_ROUNDS):
            ours.append(_own(film, folder, "stills"))
            filtered.append(_filtered_s(film, folder, program.LONG_FILM_S * program.LONG_RATE))
            among_keyframes.append(
                _filtered_s(film, folder, program.LONG_FILM_S // program.LONG_GOP_S, "-skip_frame", "nokey")
            )
            previews.append(_own(film, folder, "preview"))
    ours_s = min(told["took_s"] for told in ours)
    preview_s = min(told["took_s"] for told in previews)
    how = f"{program.LONG_GOP_FILM}; {_STILLS} stills of {_SIZE} pixels"
    return [
        Figure("telling stills, against the program's thumbnail filter", ours_s, "s", min(filtered), how),
        Figure(
            "the same, against the filter among keyframes, which may be alike", ours_s, "s", min(among_keyframes), how
        ),
        Figure("stills that are keyframes", ours[0]["keyframes"], "", None, f"of {_STILLS}"),
        Figure("a preview of five pieces as WebP", preview_s, "s", None, program.LONG_GOP_FILM),
        Figure("the film's length by that", program.LONG_FILM_S / preview_s, "x"),
    ]


def _filtered_s(film: Path, folder: Path, frames: int, *options: str) -> float:
    """Seconds that the program takes to choose a still of each part of ``frames`` in all."""
    chain = f"thumbnail=n={frames // _STILLS},scale={_SIZE}:-2"
    began = time.monotonic()
    subprocess.run(
        [*program.FFMPEG, *options, "-i", film, "-vf", chain, "-fps_mode", "vfr", folder / "peer-%02d.jpg"], check=True
    )
    return time.monotonic() - began


def _own(film: Path, folder: Path, what: str) -> dict[str, float]:
    """In a process of its own; its start isn't counted."""
    command = [sys.executable, "-m", "tests.bench.thumbnails", film, folder, what]
    told: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return told


def _main(film: str, folder: str, what: str) -> None:
    began = time.monotonic()
    keyframes = 0
    if what == "stills":
        spec = StillsSpec(count=_STILLS, telling=True, sizes=(_SIZE,))
        keyframes = sum(still.keyframe for still in stills(Path(film), Path(folder), spec, lambda _: None).items)
    else:
        preview(Path(film), Path(folder), PreviewSpec(), lambda _: None)
    print(json.dumps({"took_s": time.monotonic() - began, "keyframes": keyframes}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
