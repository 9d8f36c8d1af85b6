"""What holds for all tests."""

import hypothesis

# No deadline and no check of slowness: other programs share these cores. No database: a test leaves no files behind.
hypothesis.settings.register_profile(
    "quiet",
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("quiet")
