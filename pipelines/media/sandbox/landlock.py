"""Files that a process may open, by folder, and no others: see landlock(7) and the kernel's userspace-api/landlock."""

import contextlib
import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on every architecture
_RULESET_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 5
_MAKE_REG, _TRUNCATE, _IOCTL_DEV = 1 << 8, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _TRUNCATE | _REMOVE_FILE | _MAKE_REG
# What each version of the kernel's interface can refuse; a later one knows more, which isn't asked for.
_FS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_ABI, _NET = 4, 0b11  # to bind and to connect by TCP
_SCOPE_ABI, _SCOPES = 6, 0b11  # abstract Unix sockets and signals, beyond this process and its own


def restrict_files(*, read: Iterable[Path], write: Iterable[Path], run: Iterable[Path]) -> bool:
    """Let this thread, and those it starts, open only what lies below these; False: the kernel can't.

    What is open already stays so. Of ``read`` and ``run`` what isn't there, or can't be reached, is left out; in
    folders to ``write`` files are made: no folders, no links, no sockets and no devices.

    Raises:
        OSError: a folder to ``write`` isn't there.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    abi = int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_RULESET_VERSION)))
    if abi < 1:
        return False
    handled = max((version, rights) for version, rights in _FS_BY_ABI.items() if version <= abi)[1]
    fields = [handled, _NET if abi >= _NET_ABI else None, _SCOPES if abi >= _SCOPE_ABI else None]
    packed = b"".join(struct.pack("=Q", each) for each in fields if each is not None)
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.create_string_buffer(packed), len(packed), ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    try:
        for path in write:
            _add(libc, ruleset, path, handled & _WRITE)
        for paths, rights in ((read, _READ), (run, _EXECUTE | _READ)):
            for path in paths:
                with contextlib.suppress(OSError):
                    _add(libc, ruleset, path, handled & rights)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) == 0)
    finally:
        os.close(ruleset)


def _add(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= _OF_FILES
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, opened))
        if libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, ctypes.c_uint32(0)) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(opened)
