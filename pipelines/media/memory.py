"""What new memory holds."""

import contextlib
import ctypes

_M_PERTURB = -6  # of glibc's mallopt


def zero_new_memory(*, on: bool) -> None:
    """Have glibc fill new memory with zeros, in the whole process; elsewhere it does nothing.

    x264 reads some that it hasn't written (its macroblock tree), and makes other bytes of the same frames in a process
    that has worked before (docs/decisions/0015). It costs what touching all memory twice does.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_PERTURB, 0xFF if on else 0)
