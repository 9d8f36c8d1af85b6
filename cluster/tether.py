"""``python -m cluster.tether PARENT PROGRAM ARGS…``: become PROGRAM, and end when PARENT does."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # kept across exec
    if os.getppid() != int(parent):
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 the program is the caller's own


if __name__ == "__main__":
    main()
