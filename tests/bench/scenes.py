"""Scenes of films whose changes are known, against libavfilter's detector; and how fast a film is looked through."""

import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
from av.video.frame import VideoFrame

from pipelines.media.scenes.scenes import find_shots, plan_scenes
from pipelines.media.scenes.scenes_spec import ScenesSpec, gathered
from tests import joined
from tests.bench import program
from tests.bench.figures import Figure

_SEEDS = (5, 6, 7, 8)
_SHOTS = 40
_RATE = 25
_CLIP = "vp8_vorbis_720p_30s_bbb.webm"
_LOOPS = 4


def scenes() -> list[Figure]:
    """Recall and precision over some films of real shots, encoded at CRF 28; frames a second on one thread."""
    if not program.MEDIA.is_dir():
        return []
    material = joined.shots(program.MEDIA.parent)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in _SEEDS:
            pictures, changes = joined.joined(material, _SHOTS, seed)
            film = _encoded(pictures, folder / f"{seed}.mp4")
            ours.append(joined.scored(_ours(film), changes))
            theirs.append(joined.scored(program.scene_cuts(film), changes))
        rate = _frames_a_second(program.loop(_CLIP, folder / "film.mkv", _LOOPS))
    changes_in_all = sum(sum(score.all.values()) for score in ours)
    how = f"{changes_in_all} changes in {len(_SEEDS)} films, 640x360, x264 CRF 28"
    return [
        Figure("cuts found, by scdet's (more is better)", _recall(ours, "cut"), "", _recall(theirs, "cut"), how),
        Figure("dissolves found", _recall(ours, "dissolve"), "", _recall(theirs, "dissolve"), how),
        Figure("fades found", _recall(ours, "fade"), "", _recall(theirs, "fade"), how),
        Figure("precision", _precision(ours), "", _precision(theirs), how),
        Figure("a film of 720p looked through on one thread", rate, "frames/s", None, "VP8"),
    ]


def _encoded(pictures: joined.Frames, path: Path) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=_RATE, options={"preset": "veryfast", "crf": "28"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number, picture in enumerate(pictures):
            frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(640, 360, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, _RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def _ours(film: Path) -> list[int]:
    plan = plan_scenes(film, 1, lambda _: None)
    found = [find_shots(film, plan, stretch, 1, lambda _: None) for stretch in plan.stretches]
    told, _ = gathered(plan, found, ScenesSpec(), film.name)
    return [round(boundary.time_s * _RATE) for boundary in told.boundaries]


def _recall(scores: list[joined.Score], kind: str) -> float:
    return sum(score.found[kind] for score in scores) / sum(score.all[kind] for score in scores)


def _precision(scores: list[joined.Score]) -> float:
    hits = sum(sum(score.found.values()) for score in scores)
    return hits / (hits + sum(len(score.false) for score in scores))


def _frames_a_second(film: Path) -> float:
    plan = plan_scenes(film, 1, lambda _: None)
    began = time.monotonic()
    frames = find_shots(film, plan, plan.stretches[0], 1, lambda _: None).frames
    return frames / (time.monotonic() - began)
