import pytest

from pipelines.jobs.models import Needs, rfc3339


@pytest.mark.parametrize(
    ("at_ms", "expected"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_769_860_800_123, "2026-01-31T12:00:00.123Z"),
        (1_769_860_800_007, "2026-01-31T12:00:00.007Z"),
        (None, None),
    ],
)
def test_times_are_rfc_3339_with_milliseconds_in_utc(at_ms, expected):
    assert rfc3339(at_ms) == expected


@pytest.mark.parametrize(("seconds", "interactive"), [(0.0, True), (0.999, True), (1.0, False)])
def test_what_takes_less_than_a_second_is_interactive(seconds, interactive):
    assert Needs(seconds=seconds).interactive == interactive
