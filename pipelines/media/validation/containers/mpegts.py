"""Look at the packets of an MPEG transport stream: are they all there, and in order? ISO/IEC 13818-1, 2.4.3.

Each PID counts its packets with payload, modulo 16. A packet may come twice; ``discontinuity_indicator`` announces a
jump.
"""

import numpy as np
from numpy.typing import NDArray

from pipelines.media.validation.containers.file_bytes import FileBytes
from pipelines.media.validation.finding_log import FindingLog

_CELL = 188
_CELLS = (188, 192, 204)  # as they are kept: with a time before (M2TS), or a Reed-Solomon checksum behind
_SYNC, _NULL_PID = 0x47, 0x1FFF
_SYNCED = 8  # packets in a row
_LOOKED_AT = 64 << 10
_BLOCK_CELLS = 65536  # 12 MB at a time
_Cells = NDArray[np.uint8]


class _Counters:
    """The last counter of each PID, from block to block."""

    def __init__(self, log: FindingLog) -> None:
        self._last: dict[int, int] = {}
        self._log = log

    def take(self, cells: _Cells, begin: int, size: int) -> None:
        synced = cells[:, 0] == _SYNC
        if not synced.all():
            lost = np.flatnonzero(~synced)
            evidence = f"from byte {begin + int(lost[0]) * size} on"
            self._log.add("sync_lost", evidence=evidence, count=len(lost))
        broken = synced & (cells[:, 1] & 0x80 != 0)
        if broken.any():
            self._log.add("packet_marked_corrupt", count=int(broken.sum()), evidence="by what received it")
        cells = cells[synced]
        pids = ((cells[:, 1].astype(np.int32) & 0x1F) << 8) | cells[:, 2]
        for pid in np.unique(pids):
            if pid != _NULL_PID:
                self._count(int(pid), cells[pids == pid])

    def _count(self, pid: int, cells: _Cells) -> None:
        counters = (cells[:, 3] & 0x0F).astype(np.int32)
        payload = cells[:, 3] & 0x10 != 0
        announced = (cells[:, 3] & 0x20 != 0) & (cells[:, 4] > 0) & (cells[:, 5] & 0x80 != 0)
        before = np.concatenate(([self._last.get(pid, counters[0] - payload[0])], counters[:-1]))
        step = (counters - before) & 0x0F
        twice = payload & (step == 0)
        wrong = (step != payload) & ~announced & ~twice
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            evidence = f"PID {pid:#x}: {int(before[first]) & 15} is followed by {int(counters[first])}"
            self._log.add("packets_lost", evidence=evidence, count=int(wrong.sum()))
        repeated = twice[1:] & (cells[1:, 12:] == cells[:-1, 12:]).all(axis=1)
        if int(twice[1:].sum()) > int(repeated.sum()):
            self._log.add("packets_lost", evidence=f"PID {pid:#x}: a counter comes twice with other data")
        self._last[pid] = int(counters[-1])


def check_mpegts(data: FileBytes, log: FindingLog) -> bool:
    """Returns whether all of it was looked at."""
    found = _sync(data.read(0, _LOOKED_AT))
    if found is None:
        log.add("sync_lost", evidence="no packets are found in a row")
        return False
    first, size = found
    if first >= size:
        log.add("sync_lost", evidence=f"packets begin at byte {first}")
    counters = _Counters(log)
    for begin in range(first, data.limit - size + 1, _BLOCK_CELLS * size):
        block = data.read(begin, _BLOCK_CELLS * size)
        whole = len(block) // size
        counters.take(np.frombuffer(block, np.uint8, whole * size).reshape(whole, size)[:, :_CELL], begin, size)
    left = (data.size - first) % size
    if left not in (0, _CELL):
        log.add("cut_off", evidence=f"the last packet has {left} of {_CELL} bytes")
    return data.limit == data.size


def _sync(head: bytes) -> tuple[int, int] | None:
    """Where packets begin, and how far it is from one to the next."""
    place = head.find(_SYNC)
    while place >= 0:
        for size in _CELLS:
            marks = head[place : place + _SYNCED * size : size]
            if len(marks) > 1 and not marks.strip(bytes([_SYNC])):
                return place, size
        place = head.find(_SYNC, place + 1)
    return None
