"""Likeness by hashes: what is near is found, and no chain of likenesses makes a group."""

import numpy as np
import pytest

from pipelines.bulk.likeness import distance_between, film_distance, nearer_than, stars


def hashes(*numbers: int) -> list[str]:
    return [f"{number:016x}" for number in numbers]


def test_hashes_are_as_far_apart_as_bits_differ():
    assert distance_between("00000000000000ff", "000000000000000f") == 4


def test_all_that_is_near_enough_is_found_behind_a_place():
    near = nearer_than(hashes(0, 0b1, 0b11, 0b111, 2**64 - 1, 0), 2)
    assert list(near(0)) == [1, 2, 5]
    assert list(near(4)) == []


def test_each_pair_of_many_is_compared():
    random = np.random.default_rng(1)
    numbers = [int(each) for each in random.integers(0, 2**63, 300)]
    numbers += [number ^ 0b1011 for number in numbers]
    near = nearer_than(hashes(*numbers), 3)
    assert all(300 + place in near(place) for place in range(300))


def test_one_that_is_like_the_best_only_by_another_is_in_another_group():
    near = nearer_than(hashes(0, 0b11, 0b1111), 2)
    assert stars(3, near, lambda one, other: 2.0) == {0: {1: 2.0}}


def test_what_isn_t_alike_after_all_is_in_no_group():
    assert stars(2, lambda _: [1], lambda one, other: None) == {}


def test_of_many_alike_ones_each_is_in_one_group():
    near = nearer_than(hashes(*[7] * 2000), 0)
    (others,) = stars(2000, near, lambda one, other: 0.0).values()
    assert list(others) == list(range(1, 2000))


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        (("0f", "0f", "0f"), ("0f", "0e", "ff"), 1.0),
        (("0f", None, "0f", "0f"), (None, "0f", "0f", "0f"), None),
        ((None, "0f", "0f", "0f"), (None, "0f", "0f", "0f"), 0.0),
    ],
)
def test_films_are_as_far_apart_as_most_of_their_parts(one, other, distance):
    assert film_distance(one, other, least=3) == distance
