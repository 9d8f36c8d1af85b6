"""Batches of events, without Redis."""

import pytest

from pipelines.jobs.live import Batch


def events(*numbers: int) -> list[dict]:
    return [{"job_id": "j", "seq": number} for number in numbers]


@pytest.mark.parametrize(
    ("epoch", "cursor", "fresh"),
    [
        (1, 10, events(11, 12)),
        (1, 11, events(12)),
        (1, 12, []),
        (1, 9, None),
        (1, 13, None),
        (2, 10, None),
    ],
)
def test_a_follower_takes_what_it_has_not_seen_and_notices_a_hole(epoch, cursor, fresh):
    assert Batch(1, 10, events(11, 12)).beyond(epoch, cursor) == fresh
