from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.media.cuts import MOST_CHUNKS, CutRules, cut
from pipelines.media.demuxing import PacketTable
from pipelines.media.packet_index import PacketIndex
from pipelines.media.plan import Chunk
from pipelines.media.tracks import Window

_EVERYTHING = Window()


def index_of(
    times: Sequence[int],
    keys: Sequence[int] = (0,),
    time_base: Fraction = Fraction(1, 25),
    sizes: Sequence[int] | None = None,
) -> PacketIndex:
    """``keys`` are the numbers of the frames that are keyframes."""
    table = PacketTable()
    table.shown.extend(times)
    table.decoded.extend(range(len(times)))
    table.durations.extend([1] * len(times))
    table.sizes.extend(sizes or [100] * len(times))
    table.keys.extend(number in keys for number in range(len(times)))
    table.hidden.extend([0] * len(times))
    return PacketIndex(table, time_base)


def rules(cost_s: float = 100, slots: int = 2, chunk_s: float | None = None, warm_up: int = 0) -> CutRules:
    return CutRules(cost_s=cost_s, slots=slots, chunk_s=chunk_s, warm_up=warm_up)


def begins(chunks: Sequence[Chunk]) -> list[int | None]:
    return [chunk.begin_pts for chunk in chunks]


def assert_covers(chunks: Sequence[Chunk], times: Sequence[int]) -> None:
    """Every frame is in one chunk, and each chunk knows the next one's first frame."""
    assert sum(chunk.frames for chunk in chunks) == len(times)
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    for before, after in pairwise(chunks):
        assert before.end_pts == before.next_pts == after.begin_pts
    for chunk in chunks:
        assert sum(Window(chunk.begin_pts, chunk.end_pts).holds(pts) for pts in times) == chunk.frames > 0


def test_there_are_three_chunks_for_each_slot() -> None:
    times = range(25 * 60)
    assert len(cut(index_of(times), _EVERYTHING, rules(cost_s=4, slots=2))) == 6
    assert len(cut(index_of(times), _EVERYTHING, rules(cost_s=4, slots=4))) == 12


@pytest.mark.parametrize(
    ("cost_s", "slots", "count"),
    [
        (33, 2, 14),  # seven for each slot
        (16, 2, 10),  # none below 1.6 seconds of work
        (69, 2, 18),  # 17 would leave one slot idle at the end
        (30, 8, 24),
        (200, 2, 20),  # none below three seconds of film for its cost alone
    ],
)
def test_a_short_film_is_cut_so_that_all_slots_end_at_one_time(cost_s: float, slots: int, count: int) -> None:
    assert len(cut(index_of(range(25 * 60)), _EVERYTHING, rules(cost_s=cost_s, slots=slots))) == count


def test_long_work_is_cut_into_chunks_of_a_few_seconds_each() -> None:
    chunks = cut(index_of(range(25 * 600)), _EVERYTHING, rules(cost_s=400))
    assert len(chunks) == 100
    assert [chunk.cost_s for chunk in chunks] == pytest.approx([4] * 100, rel=0.05)


@pytest.mark.parametrize(("minutes", "cost_s", "count"), [(60, 1800, 450), (8, 450, 112), (60, 100_000, 2223)])
def test_a_long_film_is_cut_alike_for_any_number_of_slots(minutes: int, cost_s: float, count: int) -> None:
    index = index_of(range(25 * 60 * minutes), range(0, 25 * 60 * minutes, 250))
    on_two, *others = (cut(index, _EVERYTHING, rules(cost_s=cost_s, slots=slots)) for slots in (2, 7, 8, 96))
    assert len(on_two) == count
    assert others == [on_two] * 3


def test_a_chunk_of_a_slow_preset_takes_less_than_a_minute() -> None:
    chunks = cut(index_of(range(25 * 600)), _EVERYTHING, rules(cost_s=13_500))
    assert len(chunks) == 300  # three seconds of film would take 67
    assert max(chunk.cost_s for chunk in chunks) == 45


def test_no_chunk_is_too_short_for_its_keyframe() -> None:
    chunks = cut(index_of(range(25 * 10)), _EVERYTHING, rules(cost_s=1000, slots=16))
    assert len(chunks) == 6
    assert min(chunk.frames for chunk in chunks) >= 1.5 * 25


def test_what_is_shorter_than_two_chunks_stays_whole() -> None:
    (chunk,) = cut(index_of(range(70)), _EVERYTHING, rules())
    assert (chunk.begin_pts, chunk.end_pts, chunk.next_pts, chunk.key_pts, chunk.frames) == (None, None, None, None, 70)


def test_the_user_may_say_how_long_a_chunk_is() -> None:
    chunks = cut(index_of(range(101)), _EVERYTHING, rules(chunk_s=0.5))
    assert len(chunks) == 8
    assert max(chunk.frames for chunk in chunks) <= 13


def test_a_chunk_has_a_frame_however_short_it_is_wanted() -> None:
    chunks = cut(index_of(range(5)), _EVERYTHING, rules(chunk_s=0.001))
    assert [chunk.frames for chunk in chunks] == [1] * 5


@pytest.mark.parametrize("chunk_s", [0.01, 1e-320])
def test_there_are_no_more_chunks_than_can_be_kept_track_of(chunk_s: float) -> None:
    chunks = cut(index_of(range(25 * 600)), _EVERYTHING, rules(chunk_s=chunk_s))
    assert len(chunks) == MOST_CHUNKS
    assert sum(chunk.frames for chunk in chunks) == 25 * 600


def test_a_film_of_days_is_cut_into_no_more_than_those() -> None:
    assert len(cut(index_of(range(100_000), time_base=Fraction(1)), _EVERYTHING, rules(cost_s=100_000))) == MOST_CHUNKS


def test_nothing_is_cut_into_no_chunks() -> None:
    assert cut(index_of(range(50)), Window(100, 200), rules()) == ()


def test_a_cut_moves_to_a_keyframe_that_is_near() -> None:
    chunks = cut(index_of(range(100), keys=(0, 20, 50, 80)), _EVERYTHING, rules(chunk_s=1))
    assert begins(chunks) == [None, 20, 50, 80]
    assert [chunk.key_pts for chunk in chunks] == [None, 20, 50, 80]


def test_a_cut_stays_where_no_keyframe_is_near() -> None:
    chunks = cut(index_of(range(100), keys=(0, 39)), _EVERYTHING, rules(chunk_s=1))
    assert begins(chunks) == [None, 25, 50, 75]
    assert [chunk.key_pts for chunk in chunks] == [None, 0, 39, 39]


def test_filters_see_frames_before_a_chunk_that_begins_at_a_keyframe() -> None:
    chunks = cut(index_of(range(100), keys=(0, 25, 50, 75)), _EVERYTHING, rules(chunk_s=1, warm_up=2))
    assert begins(chunks) == [None, 25, 50, 75]
    assert [chunk.key_pts for chunk in chunks] == [None, 0, 25, 50]


def test_the_first_chunk_of_a_part_begins_at_the_keyframe_before_it() -> None:
    chunks = cut(index_of(range(100), keys=(0, 25, 50, 75)), Window(30, 90), rules(chunk_s=1.2))
    assert (chunks[0].begin_pts, chunks[0].key_pts, chunks[-1].end_pts) == (30, 25, 90)
    assert_covers(chunks, range(30, 90))


def test_filters_see_frames_before_a_part_that_begins_at_a_keyframe() -> None:
    chunks = cut(index_of(range(100), keys=(0, 25, 50, 75)), Window(75, None), rules(chunk_s=1, warm_up=2))
    assert chunks[0].key_pts == 50


def test_a_keyframe_counts_by_when_it_is_shown() -> None:
    # In order of decoding: an open GOP, whose keyframe 12 comes before the frames 10 and 11.
    order = [*range(10), 12, 10, 11, *range(13, 24)]
    keys = (0, order.index(12))
    chunks = cut(index_of(order, keys), _EVERYTHING, rules(chunk_s=0.48))
    assert begins(chunks) == [None, 12]
    assert chunks[1].key_pts == 12


def test_frames_before_the_first_keyframe_stay_in_the_first_chunk() -> None:
    order = [3, 0, 1, 2, *range(4, 20)]
    chunks = cut(index_of(order), _EVERYTHING, rules(chunk_s=0.04))
    assert (chunks[0].leading, chunks[0].frames) == (3, 4)
    assert {chunk.leading for chunk in chunks[1:]} == {0}


def test_a_part_behind_them_has_no_leading_frames() -> None:
    order = [3, 0, 1, 2, *range(4, 20)]
    assert cut(index_of(order), Window(5, None), rules(chunk_s=0.2))[0].leading == 0


def test_chunks_cost_by_their_frames_and_all_costs_add_up() -> None:
    chunks = cut(index_of(range(100)), _EVERYTHING, rules(cost_s=10, chunk_s=1))
    assert sum(chunk.cost_s for chunk in chunks) == pytest.approx(10, abs=0.01)
    assert [chunk.cost_s for chunk in chunks] == [chunk.frames / 10 for chunk in chunks]


def test_a_chunk_of_larger_packets_costs_a_little_more_and_its_keyframe_does_not_count() -> None:
    sizes = [100_000, *[100] * 9, *[200] * 10]
    chunks = cut(index_of(range(20), sizes=sizes), _EVERYTHING, rules(cost_s=10, chunk_s=0.4))
    quiet, busy = (chunk.cost_s for chunk in chunks)
    assert quiet + busy == pytest.approx(10, abs=0.01)
    assert busy / quiet == pytest.approx(2**0.15, rel=0.001)


def test_sizes_are_those_of_the_frames_that_are_shown_there() -> None:
    order = [0, 4, 2, 1, 3, 8, 6, 5, 7, 9]
    index = index_of(order, sizes=[10 * number for number in order])
    assert index.sizes.tolist() == [10 * number for number in range(10)]


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001)])
def test_ntsc_is_cut_at_frames_for_hours(rate: Fraction) -> None:
    frames = round(7200 * rate)
    times = [number * 1001 for number in range(frames)]
    index = index_of(times, range(0, frames, 250), Fraction(1, rate.numerator))
    chunks = cut(index, _EVERYTHING, rules(cost_s=4000))
    assert len(chunks) == 1000
    assert all(chunk.begin_pts is None or chunk.begin_pts % 1001 == 0 for chunk in chunks)
    assert sum(chunk.frames for chunk in chunks) == frames


@given(
    gaps=st.lists(st.integers(1, 5000), min_size=1, max_size=120),
    every=st.integers(1, 60),
    chunk_s=st.one_of(st.none(), st.floats(0.001, 5)),
    slots=st.integers(1, 8),
    warm_up=st.sampled_from([0, 2]),
    part=st.tuples(st.integers(0, 100_000), st.integers(1, 100_000)) | st.none(),
)
def test_any_film_is_covered_without_a_gap(
    gaps: list[int],
    every: int,
    chunk_s: float | None,
    slots: int,
    warm_up: int,
    part: tuple[int, int] | None,
) -> None:
    times = [sum(gaps[:number]) for number in range(len(gaps))]
    index = index_of(times, range(0, len(times), every), Fraction(1, 1000))
    window = _EVERYTHING if part is None else Window(part[0], part[0] + part[1])
    chunks = cut(index, window, rules(slots=slots, chunk_s=chunk_s, warm_up=warm_up))
    wanted = [pts for pts in times if window.holds(pts)]
    assert_covers(chunks, wanted)
    for chunk in chunks:
        assert chunk.key_pts is None or chunk.key_pts <= next(
            pts for pts in wanted if Window(chunk.begin_pts, None).holds(pts)
        )
