"""What jobs on pictures claim, and how they are cut into batches."""

import pytest

from pipelines.jobs.models import Needs
from pipelines.jobs.picture_claims import batches, claims_of, largest, room_of, typical
from pipelines.media.images.info import ImageInfo


def info(megapixels: int, format_: str = "png") -> ImageInfo:
    return ImageInfo(format=format_, width=1000 * megapixels, height=1000, colour="rgb")


def claims(count: int, *infos: ImageInfo, large: tuple[ImageInfo, ...] = (), each_s: float = 1.0):
    return claims_of(
        count, infos, large, lambda _info, _spec: each_s, lambda info, _spec: 10 * info.width * info.height, None
    )


@pytest.mark.parametrize(
    ("count", "slots", "most", "sizes"),
    [
        (1, 2, 48, {1}),
        (8, 2, 48, {8}),
        (20, 2, 48, {10}),
        (500, 2, 48, {41, 42}),
        (500, 64, 48, {7, 8}),
        (12, 2, 1, {1}),
        (100, 2, 5, {5}),
    ],
)
def testbatches_are_equal_and_as_many_for_each_slot(count, slots, most, sizes):
    entries = list(range(count))
    made = batches(entries, slots, most)
    assert [each for batch in made for each in batch] == entries
    assert {len(batch) for batch in made} == sizes
    assert len(made) == 1 or len(made) % slots == 0 or len(made) == count


def test_those_looked_at_are_spread_evenly_and_the_largest_files():
    assert typical(2000) == [0, 333, 666, 1000, 1333, 1666]
    assert typical(2) == [0, 1]
    assert largest([5, 9, 1, 7, 8]) == [1, 4, 3]


def test_a_picture_that_is_large_counts_for_memory_and_not_for_time():
    few, many = claims(100, info(2)), claims(100, info(2), large=(info(100),))
    assert (few.each_s, few.picture_bytes) == (1.0, 20_000_000)
    assert (many.each_s, many.picture_bytes) == (1.0, 1_000_000_000)


def test_as_many_threads_as_memory_is_shared_by():
    assert [claims(9, info(each)).threads for each in (2, 60, 100)] == [4, 2, 1]
    assert claims(9, info(2, "avif")).threads == 1


def test_a_batch_claims_what_its_pictures_hold_at_once():
    needs = claims(100, info(60)).needs(10)
    assert (needs.cpus, needs.max_cpus, needs.seconds) == (1, 2, 10.0)
    assert needs.memory_bytes > 2 * 600_000_000
    assert room_of(needs).size_bytes == 2 * 600_000_000


def test_what_is_short_and_small_claims_nothing():
    assert claims(1, info(2), each_s=0.1).needs(1) == Needs(cpus=0, max_cpus=0, seconds=0.1)
    assert claims(1, info(100), each_s=0.1).heavy is False
    assert claims(1, info(120), each_s=0.1).heavy is True
    assert room_of(Needs(cpus=0, max_cpus=0)).size_bytes == 1 << 30


def test_of_pictures_of_which_none_opens_something_is_claimed():
    assert claims(5).seconds == pytest.approx(0.5)
