"""Where a picture is cut into chunks: at frames, by counting them, each about as many as the others. Pure."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

from pipelines.media.demuxing import Ticks
from pipelines.media.packet_index import PacketIndex
from pipelines.media.plan import Chunk
from pipelines.media.tracks import Window

_CHUNK_COST_S = 4.0  # 20 films on 2 CPUs then advance every 40 s, and a pause waits about as long for a border
_FEWEST_PER_SLOT = 3  # fewer leave slots idle while the last chunks run
_ENOUGH_PER_SLOT, _SMALL_COST_S = 7, 1.6  # estimates are off by half: a short film is cut smaller, to end at once
_MIN_CHUNK_S = 1.5  # each chunk begins with a keyframe: shorter ones cost bits
_GOOD_CHUNK_S = 3.0  # slow presets look ahead by sixty frames: where there are chunks enough, they aren't shorter
_MOST_COST_S = 45.0  # but for this: what is killed is lost, and a pause waits for it or loses it
_LONG = 112  # chunks, seven for each of 16 slots: from here on slots are full whatever their number
MOST_CHUNKS = 4000  # each is a unit to plan, store and start
_BY_SIZE = 0.15  # what the source took many bits for takes longer to encode, but far from as much: see decision 0015
_NEAR = Fraction(2, 5)  # of a chunk: so far a cut moves to meet a keyframe of the source; none is decoded twice there


@dataclass(frozen=True)
class CutRules:
    """``cost_s`` is the time of the whole picture on one CPU; ``chunk_s``, of film, is the user's wish.

    ``warm_up``: how many frames before a chunk its filters have to see. ``most``: chunks there may be.
    """

    cost_s: float
    slots: int
    chunk_s: float | None = None
    warm_up: int = 0
    most: int = MOST_CHUNKS


def cut(index: PacketIndex, window: Window, rules: CutRules) -> tuple[Chunk, ...]:
    """Cut the frames of ``window`` into chunks; one chunk where there is too little to cut."""
    times = index.within(window)
    if not len(times):
        return ()
    leading = index.leading(times)
    borders = _borders(index, times, _count(index, times, rules), leading)
    costs_s = _costs_s(index, times, borders, rules)
    chunks = []
    for number, (begin, end) in enumerate(pairwise(borders)):
        last = end == len(times)
        seen_from = int(index.times[max(0, int(np.searchsorted(index.times, times[begin])) - rules.warm_up)])
        chunks.append(
            Chunk(
                number=number,
                begin_pts=int(times[begin]) if begin else window.begin_pts,
                end_pts=window.end_pts if last else int(times[end]),
                next_pts=None if last else int(times[end]),
                key_pts=index.keyframe_before(seen_from) if begin or window.begin_pts is not None else None,
                frames=end - begin,
                cost_s=costs_s[number],
                leading=0 if begin else leading,
            )
        )
    return tuple(chunks)


def _costs_s(index: PacketIndex, times: Ticks, borders: Sequence[int], rules: CutRules) -> list[float]:
    """By the number of frames, and a little by the size of the source's packets; all together cost ``rules.cost_s``."""
    pairs = list(pairwise(borders))
    weights = [(end - begin) * max(1.0, index.usual_size(times[begin:end])) ** _BY_SIZE for begin, end in pairs]
    each_s = rules.cost_s / sum(weights)
    return [round(weight * each_s, 3) for weight in weights]


def _count(index: PacketIndex, times: Ticks, rules: CutRules) -> int:
    length_s = float(int(times[-1] - times[0]) * index.time_base) or 0.001
    if rules.chunk_s is not None:
        wanted = round(min(length_s / rules.chunk_s, len(times)))
    else:
        wanted = min(_worked_out(length_s, rules), int(length_s / _MIN_CHUNK_S))
    return max(1, min(wanted, rules.most))


def _worked_out(length_s: float, rules: CutRules) -> int:
    """A long film by its work alone, for a retry to find its chunks wherever it runs; a short one for the slots."""
    many = min(round(rules.cost_s / _CHUNK_COST_S), int(length_s / _GOOD_CHUNK_S))
    many = max(many, math.ceil(rules.cost_s / _MOST_COST_S))
    if many >= _LONG:
        return many
    small = min(_ENOUGH_PER_SLOT * rules.slots, round(rules.cost_s / _SMALL_COST_S))
    wanted = max(many, small, _FEWEST_PER_SLOT * rules.slots)
    return -(-wanted // rules.slots) * rules.slots  # as many for each


def _borders(index: PacketIndex, times: Ticks, count: int, leading: int) -> list[int]:
    """Indices of the frames that chunks begin with, and the number of frames; the first holds more than ``leading``."""
    keys = index.key_times
    keyframes = np.searchsorted(times, keys[(keys > times[0]) & (keys <= times[-1])]).tolist()
    each = Fraction(len(times), count)
    borders = [0]
    for number in range(1, count):
        wanted = number * each
        place = bisect_left(keyframes, wanted)
        beside = keyframes[max(0, place - 1) : place + 1]
        near = [frame for frame in beside if abs(frame - wanted) <= each * _NEAR]
        border = min(near, key=lambda frame: abs(frame - wanted)) if near else int(wanted)
        if border > max(borders[-1], leading):
            borders.append(border)
    return [*borders, len(times)]
