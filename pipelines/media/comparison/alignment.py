"""Find how two films lie to each other in time, and whether they are the same at all.

A few short stretches of the reference are looked for in the distorted film where the files' times say that they are.
If they aren't there, or fit as well beside, the beginnings of both films are held against each other at every offset.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from pipelines.media.comparison.compare_spec import (
    DIFFERENT_FIT,
    SAME_FIT,
    Alignment,
    CompareSpec,
    Place,
    Span,
    Verdict,
)
from pipelines.media.comparison.film import Film, shown_pts
from pipelines.media.comparison.signatures import Strip, likeness, strip_of
from pipelines.media.packet_index import PacketIndex
from pipelines.media.profiles import rate_of

_PLACES = 3
_STRETCH_FRAMES = 12
_BEGINNING_FRAMES = 100  # looked at instead, of films that are short or can't be read from anywhere
_AROUND_FRAMES = 6  # on each side of where a stretch should be
_SEARCHED_S = 20.0  # of both films, beside the offset
_MOST_FRAMES = 4000  # of each, in the search; of more, some that are spread over all of it
_LEAST_OVERLAP = 0.25  # of what both films have; less, where that is longer than four times what is searched
_LOOKED_FOR = 40  # of the frames of the reference, in the least overlap
_AT_ONCE = 1 << 20  # partners that are looked for
_SHARP = 0.1
_BETTER, _MUCH_BETTER = 0.1, 0.5  # an offset is moved for a misfit that is less by this share
_OFFSET_DECIMALS = 4
_STILL = 1e-6  # misfit of pictures that don't move


@dataclass(frozen=True)
class Timeline:
    """When the frames of a film are shown, in seconds from the start of its file, as its packets tell.

    ``telling``: of each keyframe, its time and how much data follows it. ``anywhere``: it can be read from any of them.
    """

    times_s: NDArray[np.float64]
    step_s: float
    telling: tuple[tuple[float, int], ...]
    anywhere: bool


def timeline_of(film: Film, index: PacketIndex) -> Timeline:
    times = index.times.tolist()
    times_s = np.unique([film.time_s(pts) for pts in times]) if times else np.zeros(1)  # raw: it has none
    steps = np.diff(times_s)
    rate = rate_of(film.video.average_frame_rate) or rate_of(film.video.frame_rate) or 25
    sizes = np.concatenate([[0], np.cumsum(np.array(index.table.sizes, np.int64))])
    return Timeline(
        times_s=times_s,
        step_s=float(np.median(steps)) if len(steps) else float(1 / rate),
        telling=tuple(
            (film.time_s(int(index.shown[place])), int(sizes[place + _STRETCH_FRAMES] - sizes[place + 1]))
            for place in index.key_places
            if place < len(index.table) - _STRETCH_FRAMES and not index.table.hidden[place]
        ),
        anywhere=index.doubtful is None,
    )


def align(reference: Film, distorted: Film, timelines: tuple[Timeline, Timeline], spec: CompareSpec) -> Alignment:
    """Find the offset, unless ``spec`` gives it, and how sure it is.

    Raises:
        SourceUnreadableError: nothing decodes.
    """
    looker = _Looker(reference, distorted, timelines)
    if spec.offset is not None:
        return _alignment(looker.look(spec.offset, fixed=True), "given")
    match = looker.look(0.0)
    first_s = float(timelines[1].times_s[0] - timelines[0].times_s[0])
    if not match.good and abs(first_s) > looker.step_s / 2:
        match = max(match, looker.look(first_s), key=lambda each: each.fit)
    if match.good:
        return _alignment(match, "times")
    searched = looker.look(looker.search(spec.max_offset))
    if 1 - searched.fit < (1 - match.fit) * (1 - _BETTER):
        return _alignment(searched, "search")
    return _alignment(match, "times")


@dataclass(frozen=True)
class _Match:
    offset_s: float
    fit: float
    best_fit: float  # of the places where there is anything to see
    sharpness: float
    at_edge: bool
    places: tuple[Place, ...]

    @property
    def good(self) -> bool:
        return self.fit >= SAME_FIT and self.sharpness >= _SHARP and not self.at_edge


def _alignment(match: _Match, found: Literal["times", "search", "given"]) -> Alignment:
    # Who gives an offset wants them compared; and a part that is the same is something.
    doubtful = match.fit >= DIFFERENT_FIT or match.best_fit >= SAME_FIT or found == "given"
    verdict: Verdict = "same" if match.fit >= SAME_FIT else "doubtful" if doubtful else "different"
    sure = np.clip((match.fit - DIFFERENT_FIT) / (0.9 - DIFFERENT_FIT), 0, 1) * (0.5 + min(0.5, 5 * match.sharpness))
    return Alignment(
        verdict=verdict,
        offset_s=round(match.offset_s, 6),
        confidence=round(float(sure), 3),
        fit=round(match.fit, 4),
        sharpness=round(match.sharpness, 3),
        found=found,
        places=match.places,
    )


class _Looker:
    def __init__(self, reference: Film, distorted: Film, timelines: tuple[Timeline, Timeline]) -> None:
        self._steps_s = sorted(timeline.step_s for timeline in timelines)
        self.step_s = self._steps_s[1]
        self._reference, self._distorted = reference, distorted
        self._timelines = timelines
        self._known: dict[tuple[float, int], Strip] = {}

    def look(self, around_s: float, *, fixed: bool = False) -> _Match:
        """How well the stretches fit around an offset, and where best; ``fixed``: at it."""
        margin_s = self.step_s * (0.5 if fixed else _AROUND_FRAMES)
        views = [
            _View(stretch, self._around(stretch, around_s, margin_s), *self._steps_s)
            for stretch in self._stretches(around_s)
        ]
        if not views:
            return _Match(around_s, 0.0, 0.0, 0.0, at_edge=False, places=())
        offsets = np.array([around_s])
        if not fixed:
            others = np.concatenate([view.offsets() for view in views])
            near = others[np.abs(others - around_s) <= margin_s]
            offsets = np.unique(np.concatenate([offsets, near]).round(_OFFSET_DECIMALS))
        fits = np.array([view.fits(offsets) for view in views])
        together = fits.mean(axis=0)
        best = _best(together, offsets, around_s)
        beside = together[np.abs(offsets - offsets[best]) >= 0.9 * self.step_s]
        misfit_beside = 1 - float(beside.max()) if len(beside) else 0.0
        fit = float(together[best])
        exact_s = float(np.median([view.exact(float(offsets[best])) for view in views]))
        return _Match(
            offset_s=around_s if fixed else exact_s,
            fit=fit,
            best_fit=max(
                (float(own[best]) for view, own in zip(views, fits, strict=True) if view.telling), default=0.0
            ),
            sharpness=max(0.0, 1 - (1 - fit) / misfit_beside) if misfit_beside > _STILL else 0.0,
            at_edge=not fixed and abs(offsets[best] - around_s) > margin_s - self.step_s,
            places=tuple(
                Place(
                    time_s=round(float(view.stretch.times_s[0]), 3),
                    fit=round(float(own[best]), 4),
                    offset_s=round(
                        view.exact(float(offsets[_best(own, offsets, float(offsets[best]), _MUCH_BETTER)])), 6
                    ),
                )
                for view, own in zip(views, fits, strict=True)
            ),
        )

    def search(self, most_s: float) -> float:
        """The offset at which the beginnings of both films fit best.

        Where these have too many frames, it's found by some of them, and then more closely by all around it.
        """
        begins_s = [float(timeline.times_s[0]) for timeline in self._timelines]
        length_s = most_s + _SEARCHED_S
        apart_s = length_s / _MOST_FRAMES
        if apart_s <= self._steps_s[0]:
            return self._fitting(begins_s, length_s, 0.0, most_s, 0.0)
        about_s = self._fitting(begins_s, length_s, 0.0, most_s, apart_s)
        begin_s = max(begins_s[0], begins_s[1] - about_s)
        near_s = apart_s + self.step_s
        return self._fitting([begin_s, begin_s + about_s - near_s], _SEARCHED_S + near_s, about_s, near_s, 0.0)

    def _fitting(
        self, begins_s: Sequence[float], length_s: float, around_s: float, most_s: float, apart_s: float
    ) -> float:
        """The best offset up to ``most_s`` away from ``around_s``, by frames that are ``apart_s`` or more."""
        reference, distorted = (
            self._read(film, begin_s, begin_s + length_s, apart_s=apart_s)
            for film, begin_s in zip((self._reference, self._distorted), begins_s, strict=True)
        )
        if not len(reference) or not len(distorted):
            return around_s
        both_s = min(float(strip.times_s[-1] - strip.times_s[0]) for strip in (reference, distorted))
        overlap = min(_LEAST_OVERLAP, _SEARCHED_S / max(both_s, _SEARCHED_S))
        chosen = np.unique(np.linspace(0, len(reference) - 1, int(_LOOKED_FOR / overlap)).astype(int))
        reference = Strip(reference.times_s[chosen], reference.shapes[chosen], reference.levels[chosen])
        steps_s = [step_s + apart_s for step_s in self._steps_s]
        count = int(most_s / (steps_s[0] / 2))
        offsets = around_s + np.arange(-count, count + 1, dtype=np.float64) * (steps_s[0] / 2)
        fits = _View(reference, distorted, *steps_s).fits(offsets, overlap)
        return float(offsets[_best(fits, offsets, around_s)])

    def _stretches(self, offset_s: float) -> list[Strip]:
        """Of each third of what both films have at this offset, where there is most to see.

        Of what is short, or can't be read from anywhere, the beginning.
        """
        reference, distorted = self._timelines
        begin_s = max(float(reference.times_s[0]), float(distorted.times_s[0]) - offset_s)
        if not (reference.anywhere and distorted.anywhere):
            return [self._stretch(begin_s, _BEGINNING_FRAMES)]
        end_s = float(distorted.times_s[-1]) - offset_s
        half_s = self.step_s / 2
        times_s = reference.times_s[(reference.times_s > begin_s - half_s) & (reference.times_s < end_s + half_s)]
        if len(times_s) < 2 * _PLACES * _STRETCH_FRAMES:
            return [self._stretch(float(times_s[0]), len(times_s))] if len(times_s) else []
        thirds = [float(third[0]) for third in np.array_split(times_s, _PLACES)]
        best = [(-1, third_s) for third_s in thirds]
        for time_s, followed_by in reference.telling:
            third = bisect_right(thirds, time_s) - 1
            if third >= 0 and time_s <= times_s[-_STRETCH_FRAMES]:
                best[third] = max(best[third], (followed_by, time_s))
        return [self._stretch(time_s, _STRETCH_FRAMES) for _, time_s in best]

    def _stretch(self, begin_s: float, frames: int) -> Strip:
        key = (begin_s, frames)
        if key not in self._known:
            self._known[key] = self._read(self._reference, begin_s, None, frames)
        return self._known[key]

    def _around(self, stretch: Strip, offset_s: float, margin_s: float) -> Strip:
        begin_s = float(stretch.times_s[0]) + offset_s - margin_s
        return self._read(self._distorted, begin_s, float(stretch.times_s[-1]) + offset_s + margin_s)

    def _read(
        self, film: Film, begin_s: float, end_s: float | None, count: int = _MOST_FRAMES, apart_s: float = 0.0
    ) -> Strip:
        """Up to ``count`` frames, with so many seconds from one to the next, or what there is."""
        span = Span(begin_pts=film.pts_at(begin_s), last_pts=None if end_s is None else film.pts_at(end_s))
        timed = ((film.time_s(shown_pts(frame)), frame) for frame in film.frames(span))
        return strip_of(islice(_thinned(timed, apart_s), count), film.video)


def _thinned(frames: Iterable[tuple[float, VideoFrame]], apart_s: float) -> Iterator[tuple[float, VideoFrame]]:
    """The first, and each that is ``apart_s`` or more behind the one before: none is missed where all are."""
    last_s = -math.inf
    for time_s, frame in frames:
        if time_s - last_s >= apart_s:
            yield time_s, frame
            last_s = time_s


class _View:
    """A stretch of the reference and a strip of the distorted film, to be laid upon each other at offsets."""

    def __init__(self, stretch: Strip, strip: Strip, short_step_s: float, long_step_s: float) -> None:
        self.stretch = stretch
        self._strip = strip
        self._alike = likeness(stretch, strip)
        self._tolerance_s = short_step_s / 2 + 0.001  # times are rounded to milliseconds in some containers
        self._long_step_s = long_step_s

    @property
    def telling(self) -> bool:
        """Whether there is anything to see in the stretch."""
        return not self.stretch.flat.all()

    def offsets(self) -> NDArray[np.float64]:
        """At which a frame of each has the same time."""
        return (self._strip.times_s[None, :] - self.stretch.times_s[:, None]).ravel()

    def fits(self, offsets: NDArray[np.float64], least_overlap: float = 0.5) -> NDArray[np.float64]:
        """How alike the frames are at each offset, from 0 to 1; 0 where too few have a partner."""
        if not len(self._strip) or not len(self.stretch):
            return np.zeros(len(offsets))
        least = max(1.0, least_overlap * self._most_pairs())
        parts = np.array_split(offsets, -(-len(offsets) * len(self.stretch) // _AT_ONCE))
        return np.concatenate([self._fits(part, least) for part in parts])

    def _fits(self, offsets: NDArray[np.float64], least: float) -> NDArray[np.float64]:
        partners, near = self._partners(offsets)
        alike = np.where(near, self._alike[np.arange(len(self.stretch)), partners], 0).sum(axis=1)
        count = near.sum(axis=1)
        return np.asarray(np.where(count >= least, alike / np.maximum(count, 1), 0.0), np.float64)

    def _most_pairs(self) -> float:
        """How many there can be, if all of the shorter lies within the longer."""
        lengths_s = [float(each.times_s[-1] - each.times_s[0]) for each in (self.stretch, self._strip)]
        return min(len(self.stretch), len(self._strip), 1 + min(lengths_s) / self._long_step_s)

    def exact(self, offset_s: float) -> float:
        """The offset that most pairs have that are made at about ``offset_s``."""
        if not len(self._strip) or not len(self.stretch):
            return offset_s
        partners, near = self._partners(np.array([offset_s]))
        gaps_s = (self._strip.times_s[partners[0]] - self.stretch.times_s)[near[0]]
        return float(np.median(gaps_s)) if len(gaps_s) else offset_s

    def _partners(self, offsets: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The nearest frame to each of the stretch, ``(offsets, frames)``, and whether it's near enough."""
        wanted = self.stretch.times_s[None, :] + offsets[:, None]
        times_s = self._strip.times_s
        after = np.clip(np.searchsorted(times_s, wanted), 1, max(1, len(times_s) - 1))
        before = after - 1
        after = np.minimum(after, len(times_s) - 1)
        nearest = np.where(np.abs(times_s[after] - wanted) < np.abs(times_s[before] - wanted), after, before)
        return nearest, np.abs(times_s[nearest] - wanted) <= self._tolerance_s


def _best(fits: NDArray[np.float64], offsets: NDArray[np.float64], wanted_s: float, better: float = _BETTER) -> int:
    """The best of ``offsets``; the one nearest to ``wanted_s`` where the best is hardly better."""
    best, wanted = int(fits.argmax()), int(np.abs(offsets - wanted_s).argmin())
    misfit, wanted_misfit = 1 - fits[best], 1 - fits[wanted]
    return best if misfit + _STILL < wanted_misfit * (1 - better) else wanted
