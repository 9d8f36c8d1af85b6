"""What holds for all tests."""

import hypothesis
from hypothesis import strategies as st

from pipelines.media.sandbox.confinement import keep_from_real_time

# No deadline and no check of slowness: other programs share these cores. No database: a test leaves no files behind.
hypothesis.settings.register_profile(
    "quiet",
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("quiet")


def pytest_configure() -> None:
    """Encode in this process as the media child does: else, run by root, it gets ahead of all others."""
    keep_from_real_time()


def pytest_collection_finish() -> None:
    """Load the module behind ``randoms`` before the tests.

    Loaded in the middle of one, by pytest's import hook, it has failed: "AST constructor recursion depth mismatch", an
    error of CPython 3.11.
    """
    st.randoms().validate()
