"""Which pieces of a film a preview shows: around telling frames, spread over it, from where a shot begins."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pipelines.media.candidates import MARGIN, candidates_at
from pipelines.media.frames import FrameReader
from pipelines.media.info import VideoInfo
from pipelines.media.preview.preview_spec import CANDIDATES, LOOK_BACK_S, PreviewSpec
from pipelines.media.surroundings import Surroundings
from pipelines.media.telling import Candidate
from pipelines.media.timing import Timing

_FLASH_S = 0.4  # of the next shot at the end of a piece: shorter, it only flickers
_LEAST_S = 0.3  # of a piece
_TICK_S = 0.001  # times are rounded


@dataclass(frozen=True)
class Piece:
    """A part of a film, in seconds from the container's start."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True)
class _Change:
    """A boundary of shots: until when the one before is shown by itself, and from when the next."""

    until_s: float
    from_s: float


def highlights(
    reader: FrameReader,
    video: VideoInfo,
    timing: Timing,
    pictures: Piece,
    spec: PreviewSpec,
    on_part: Callable[[int], None],
) -> list[Piece]:
    """Pieces of the film whose pictures are shown in ``pictures``, in order of time; all of a film that is no longer.

    ``on_part`` is told how many of ``spec.segments`` parts were looked through.
    """
    if pictures.length_s <= spec.segments * spec.segment_s:
        return [pictures]
    parts = _parts(pictures, spec.segments)
    wanted = [
        timing.pts_of(part.start_s + (n + 0.5) / CANDIDATES * part.length_s)
        for part in parts
        for n in range(CANDIDATES)
    ]
    candidates, around = candidates_at(reader, wanted, spec.segments, video, timing.time_base)
    pieces: list[Piece] = []
    chosen: list[Candidate] = []
    for number, part in enumerate(parts, start=1):
        best = _best(_within(candidates, part, timing), chosen, around)
        if best is not None:
            chosen.append(best)
            free = Piece(pieces[-1].end_s if pieces else pictures.start_s, pictures.end_s)
            changes = _changes(around, pictures, timing, _view(free, timing.time_of(best.pts), spec.segment_s))
            pieces += _piece_around(timing.time_of(best.pts), free, spec.segment_s, changes)
        on_part(number)
    return pieces or [Piece(pictures.start_s, pictures.start_s + spec.segment_s)]


def _parts(pictures: Piece, count: int) -> list[Piece]:
    begin_s = pictures.start_s + MARGIN * pictures.length_s
    length_s = (1 - 2 * MARGIN) * pictures.length_s / count
    return [Piece(begin_s + number * length_s, begin_s + (number + 1) * length_s) for number in range(count)]


def _within(candidates: Sequence[Candidate], part: Piece, timing: Timing) -> list[Candidate]:
    return [each for each in candidates if part.start_s <= timing.time_of(each.pts) < part.end_s]


def _best(candidates: Sequence[Candidate], chosen: Sequence[Candidate], around: Surroundings) -> Candidate | None:
    """The most telling one that is unlike those of other parts, and of another shot; else the most telling one."""
    ranked = sorted(candidates, key=lambda each: -each.score)
    fresh = (
        each
        for each in ranked
        if not each.shows_nothing
        and not any(map(each.is_like, chosen))
        and not around.is_changing(each.pts)
        and not (chosen and around.one_shot(chosen[-1].pts, each.pts))
    )
    return next(fresh, ranked[0] if ranked else None)


def _view(free: Piece, time_s: float, length_s: float) -> Piece:
    """Where the start of a piece with the frame at ``time_s`` is looked for, and what it may show."""
    return Piece(max(free.start_s, time_s - LOOK_BACK_S), min(free.end_s, time_s + 2 * length_s))


def _changes(around: Surroundings, pictures: Piece, timing: Timing, view: Piece) -> list[_Change]:
    """The boundaries of shots in ``view``, among them the film's own start."""
    found = around.boundaries(timing.pts_of(view.start_s), timing.pts_of(view.end_s))
    changes = [
        _Change(timing.time_of(each.pts if each.kind == "cut" else each.begin_pts), timing.time_of(each.end_pts))
        for each in found
    ]
    if view.start_s == pictures.start_s:
        changes.insert(0, _Change(pictures.start_s, pictures.start_s))
    return changes


def _piece_around(time_s: float, free: Piece, length_s: float, changes: Sequence[_Change]) -> Iterator[Piece]:
    """The piece that begins with the shot of the frame at ``time_s``, or with that frame if the shot began long before.

    Of a shot that is too short, one nearby is taken that is not. None where too little of ``free`` is left.
    """
    ends = [*(each.until_s for each in changes), free.end_s]
    shots = [Piece(change.from_s, end) for change, end in zip(changes, ends[1:], strict=True)]
    if not changes or changes[0].from_s > time_s:
        shots.insert(0, Piece(max(free.start_s, min(time_s, ends[0] - length_s)), ends[0]))
    long_enough = [shot for shot in shots if shot.length_s >= length_s - _TICK_S]
    own = [shot for shot in shots if shot.start_s <= time_s]
    start_s = max(free.start_s, min(long_enough or own or shots, key=lambda shot: _distance_s(shot, time_s)).start_s)
    end_s = min(start_s + length_s, free.end_s)
    late = [each.until_s for each in changes if end_s - _FLASH_S < each.until_s < end_s - _TICK_S]
    end_s = late[0] if late and late[0] - start_s >= _LEAST_S else end_s
    if end_s - start_s >= _LEAST_S:
        yield Piece(round(start_s, 6), round(end_s, 6))


def _distance_s(shot: Piece, time_s: float) -> float:
    return max(0.0, shot.start_s - time_s, time_s - shot.end_s)
