"""A module of ours as a process beside this one, which reads its input to the end and writes what it has to tell.

It is for what would stop or end this process: it goes when its input is closed, as it is when this process is gone.
"""

import contextlib
import subprocess
import sys


def started(module: str) -> subprocess.Popen[bytes]:
    """Start ``python -m module``, in a process group of its own."""
    command = [sys.executable, "-I", "-m", module]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)


def end(process: subprocess.Popen[bytes]) -> None:
    """At once, whatever it does."""
    process.kill()
    with contextlib.suppress(BrokenPipeError):  # what it wasn't told yet
        process.communicate()
