"""Starts media processes: with their own environment, in a group and, where that helps, a session of their own."""

import logging
import os
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "4",
    # What an encoder gave back is there for the next: 1.5 % of its time went by with the kernel clearing new pages. A
    # child that has waited for a while gives it back itself.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),  # the most that every glibc takes
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "OPENBLAS_NUM_THREADS": "1",  # NumPy's: nothing here multiplies matrices, and each thread spins when it starts
}
# Whether children have sessions of their own: where the kernel schedules by sessions, and one can be made nice.
_own_sessions = threading.Event()
if os.access("/proc/self/autogroup", os.W_OK):
    _own_sessions.set()
# The kernel ends a child when the *thread* that started it ends, so one thread that lives as long as the process
# starts them all.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="child-spawner")
_log = logging.getLogger("mediaray.child")


def spawn(command: Sequence[str], descriptors: Sequence[int], stderr: int) -> subprocess.Popen[bytes]:
    """Start a process that has these of our descriptors, and no others."""
    own_session = _own_sessions.is_set()
    return _spawner.submit(
        subprocess.Popen,
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=descriptors,
        # A group of its own in any case, to be killed as one.
        start_new_session=own_session,
        process_group=None if own_session else 0,
        cwd="/",
        env=_ENVIRONMENT,
    ).result()


def stay_in_our_session() -> None:
    """Start no more sessions: one that can't be made nice would be weighed as much as all of ours."""
    if _own_sessions.is_set():
        _own_sessions.clear()
        _log.warning("this system lets no session be made nice: media processes stay in this one's")
