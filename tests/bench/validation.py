"""Validation: how fast all of a film is decoded and looked at, and which damage is found."""

import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipelines.media.parts import Part
from pipelines.media.passes import run_pass
from pipelines.media.validation.full import check_part_hashed, plan_validation, validate_full
from pipelines.media.validation.hash_comparison import compare
from pipelines.media.validation.hashing import FrameHashes
from pipelines.media.validation.quick import validate_quick
from pipelines.media.validation.report import Checked, conclude, merge
from tests import damage
from tests.bench import program
from tests.bench.figures import Figure, median

_ROUNDS = 3
FILMS = {"h264_aac51_720p_bbb.mp4": 10, "hevc_10bit_hlg_dolbyvision_rot90.mp4": 24, "vp8_vorbis_720p_30s_bbb.webm": 2}
_PER_KIND = 5
_TRIES = 60  # for a case that changes what is seen or heard
_WEBM_S = 8  # of the longest clip: each case is decoded four times
_HEVC_LOOPS = 8  # its clip has nine frames
_FLIPS = 40


def validation() -> list[Figure]:
    """Each film decoded by two processes of ours, and by the ffmpeg program on as many cores, in turns."""
    if not program.MEDIA.is_dir():
        return []
    figures = []
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(2) as pool:
        list(pool.map(_nothing, range(2)))
        for name, times in FILMS.items():
            film = program.loop(name, Path(folder) / f"{name}.mkv", times)
            rounds = [(_ours(film, pool), program.decode(film)) for _ in range(_ROUNDS)]
            ours, theirs = (median(side) for side in zip(*rounds, strict=True))
            how = f"{_ROUNDS} rounds in turns; ours {ours:.2f} s with its plan (bar 0.95, more is better)"
            figures.append(Figure(f"full, speed against decoding to null: {name}", theirs / ours, "", 1.0, how))
    return figures


def _nothing(_: int) -> None:
    """Have the process started and its modules loaded, as a warm child is."""


def _ours(film: Path, pool: ProcessPoolExecutor) -> float:
    began = time.monotonic()
    plan = plan_validation(film, 2, print_nothing)
    threads = 2 if len(plan.parts) == 1 else 1
    work = [(film, part, threads) for part in sorted(plan.parts, key=lambda part: -part.cost_s)]
    checked = list(pool.map(_check, work))
    assert conclude(merge([plan.looked, *checked]), level="full", packets_read="all", decoded="all").frames
    return time.monotonic() - began


def _check(work: tuple[Path, Part, int]) -> Checked:
    film, part, threads = work
    return check_part_hashed(film, part, threads, None, print_nothing)


def print_nothing(_: object) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Found:
    full: bool
    quick: bool
    hashes: bool


def damages() -> list[Figure]:
    """200 seeded damages of five real clips that change what is seen or heard: which are found."""
    if not program.MEDIA.is_dir():
        return []
    found: dict[str, list[Found]] = defaultdict(list)
    alone: dict[str, list[Found]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for codec, clip in _clips(Path(folder)):
            for kind in damage.KINDS:
                cases = list(_cases(clip, kind, Path(folder), _PER_KIND))
                (alone[codec] if kind == "flipped" else found[kind]).extend(cases)
            alone[codec] += _cases(clip, "flipped", Path(folder), _FLIPS - _PER_KIND, first=1000)
    return [*_figures(found), *_flip_figures(alone)]


def _figures(found: dict[str, list[Found]]) -> list[Figure]:
    cases = [case for each in found.values() for case in each]
    missed = {kind: [case.full for case in each].count(False) for kind, each in found.items()}
    how = f"{len(cases)} cases; missed: {', '.join(f'{kind} {count}' for kind, count in missed.items() if count)}"
    return [
        Figure("damage found by full (bar 0.99, more is better)", _share([c.full for c in cases]), "", 0.99, how),
        Figure("damage found by quick (bar 0.6, more is better)", _share([c.quick for c in cases]), "", 0.6),
        Figure("damage found by frame hashes (bar 1, more is better)", _share([c.hashes for c in cases]), "", 1.0),
    ]


def _flip_figures(alone: dict[str, list[Found]]) -> list[Figure]:
    figures = []
    for codec, cases in alone.items():
        bar = 0.9 if codec in {"h264", "hevc"} else None
        how = f"{len(cases)} cases of one bit each; by frame hashes {_share([c.hashes for c in cases]):.2f}"
        figures.append(Figure(f"one bit of a picture: {codec}", _share([c.full for c in cases]), "", bar, how))
    return figures


def _share(found: list[bool]) -> float:
    return sum(found) / max(1, len(found))


def _clips(folder: Path) -> Iterator[tuple[str, damage.Clip]]:
    yield "h264", damage.Clip.of(program.MEDIA / "h264_aac51_720p_bbb.mp4")
    hevc = program.loop("hevc_10bit_hlg_dolbyvision_rot90.mp4", folder / "hevc.mp4", _HEVC_LOOPS)
    yield "hevc", damage.Clip.of(hevc)
    yield "mpeg2", damage.Clip.of(program.MEDIA / "mpeg2_mp2_1080p.ts")
    yield "mpeg4", damage.Clip.of(program.MEDIA / "mpeg4_mp3_960x400.avi")
    long = damage.Clip.of(program.MEDIA / "vp8_vorbis_720p_30s_bbb.webm")
    short = folder / "vp8.webm"
    short.write_bytes(damage.remuxed(long, lambda _index, _number, packet: packet.dts * packet.time_base < _WEBM_S))
    yield "vp8", damage.Clip.of(short)


def _cases(clip: damage.Clip, kind: str, folder: Path, count: int, first: int = 0) -> Iterator[Found]:
    """Cases that change what is seen or heard."""
    before = clip.path
    if kind in damage.REMUXED:
        before = folder / f"clean{clip.path.suffix}"
        before.write_bytes(damage.remuxed(clip))
    seen = damage.shown(before)
    whole = validate_full(before, 2, print_nothing)
    assert whole.verdict == "ok", whole.findings
    kept = _hashes(before, folder / "before.parquet")
    assert kept is not None
    target = folder / f"case{clip.path.suffix}"
    for seed in range(first, first + _TRIES):
        target.write_bytes(damage.KINDS[kind](clip, random.Random(f"{kind}-{seed}")))
        if damage.shown(target) == seen:
            continue
        now = _hashes(target, folder / "now.parquet")
        yield Found(
            full=validate_full(target, 2, print_nothing).verdict != "ok",
            quick=validate_quick(target, print_nothing).verdict != "ok",
            hashes=now is None or bool(compare(kept, now).findings),
        )
        count -= 1
        if not count:
            return


def _hashes(film: Path, target: Path) -> Path | None:
    """Digests of all frames, or None of what can't be opened."""
    plan = plan_validation(film, 1, print_nothing)
    if not plan.parts:
        return None
    digests = FrameHashes()
    streams = tuple(stream for part in plan.parts for stream in part.streams)
    run_pass(film, Part(streams=tuple(dict.fromkeys(streams))), [digests], 2, print_nothing)
    digests.write(target)
    return target
