"""What new memory holds, and what is done with the old."""

import contextlib
import ctypes

_M_PERTURB = -6  # of glibc's mallopt


def give_back_free_memory() -> None:
    """Have glibc give free pages back to the system, which hands out zeros; elsewhere it does nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def zero_new_memory(*, on: bool) -> None:
    """Have glibc fill new memory with zeros, in the whole process; elsewhere it does nothing.

    That touches all of it, also what would never be used.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_PERTURB, 0xFF if on else 0)
