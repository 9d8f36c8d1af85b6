import os

import pytest


@pytest.fixture(scope="session")
def rounds() -> int:
    """How many seeded rounds each fault is given; ``make chaos`` asks for 20."""
    return int(os.environ.get("MEDIARAY_CHAOS_ROUNDS", "3"))
