"""Python's garbage collector, tuned for processes that import much and make few cycles ever after.

Ray's workers import this module first (``RAY_preload_python_modules``). At Python's threshold of 700 new objects the
collector walks the hundred thousand that imports leave behind time and again: 7 % of a start's CPU time
(docs/decisions/0013).
"""

import gc


def relax() -> None:
    """Collect less often."""
    gc.set_threshold(50_000, 20, 50)


relax()
