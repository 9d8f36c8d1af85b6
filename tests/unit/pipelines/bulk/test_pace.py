"""Batches come to take some seconds, whatever was estimated."""

import pytest

from pipelines.bulk.pace import BATCH_S, MOST_ROWS, Pace, batch_size, block_size

LARGE, SMALL = 8 << 20, 100 << 10


def rows(count: int, size_bytes: int | None = None) -> list[dict]:
    return [{"uri": f"/{number}", "size_bytes": size_bytes} for number in range(count)]


@pytest.mark.parametrize(("each_s", "size"), [(0.0001, 256), (0.1, 30), (3.0, 1), (500.0, 1)])
def test_a_batch_is_some_seconds_of_work(each_s, size):
    assert batch_size(each_s) == size


def test_until_something_is_known_batches_are_as_they_were_estimated():
    pace = Pace(8)
    assert (pace.cut(rows(100)), pace.cut(rows(5)), pace.seconds_of(rows(8))) == (8, 5, None)


@pytest.mark.parametrize("each_s", [0.02, 0.1, 0.5, 4.0])
def test_batches_approach_some_seconds_from_an_estimate_that_is_off(each_s):
    pace, count = Pace(8), 0
    for _ in range(10):
        count = pace.cut(rows(400))
        pace.learn(rows(count), count * each_s)
    assert count == pytest.approx(max(1.0, min(MOST_ROWS, BATCH_S / each_s)), rel=0.1, abs=1)
    assert pace.seconds_of(rows(10)) == pytest.approx(10 * each_s, rel=0.1)


def test_large_files_are_told_from_small_ones():
    pace = Pace(30)
    for _ in range(10):
        pace.learn(rows(20, LARGE), 20 * 0.6)
        pace.learn(rows(20, SMALL), 20 * 0.02)
    assert pace.cut(rows(200, LARGE)) == 5
    assert pace.cut(rows(200, SMALL)) == pytest.approx(150, rel=0.05)
    assert pace.cut([*rows(2, LARGE), *rows(200, SMALL)]) == pytest.approx(92, rel=0.05)
    assert pace.cut(rows(200, 2 * LARGE)) == 5  # as the nearest that are known


def test_one_that_takes_longer_than_a_batch_is_one():
    pace = Pace(30)
    pace.learn(rows(1), 1000.0)
    assert pace.cut(rows(5)) == 1


def test_what_took_no_time_is_taken_in_the_largest_batches():
    pace = Pace(8)
    for _ in range(30):
        pace.learn(rows(8), 0.0)
    assert pace.cut(rows(400)) == MOST_ROWS


@pytest.mark.parametrize(
    ("size", "count", "block"),
    [(8, 10_000, 32), (130, 5000, 256), (8, 40, 8), (8, 200, 12), (1, 1000, 1), (300, 9, 300)],
)
def test_blocks_leave_room_to_grow_and_are_enough_for_all_at_work(size, count, block):
    assert block_size(size, count, at_once=4) == block
