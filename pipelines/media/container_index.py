"""Whether a seek in a container knows where to go: without an index, libav reads all that is before."""

from collections.abc import Sequence
from contextlib import suppress

import av
from av.container import InputContainer
from av.stream import Stream

# Formats in which libav comes upon a time by halving, or has an index of its own.
_NEED_NONE = frozenset({"mpegts", "mpeg", "asf", "nut", "ogg", "mxf", "gxf", "dv"})


def has_index(container: InputContainer, stream: Stream, times: Sequence[int]) -> bool:
    """Whether keyframes of ``stream`` at ``times``, which rise, are found without reading on to them.

    Leaves ``container`` near its start. Matroska that was never finished, IVF and most FLV have no index.
    """
    if container.format.name in _NEED_NONE or not times:
        return True
    with suppress(av.error.FFmpegError):
        container.seek(stream.start_time or 0, stream=stream)  # Matroska's is read at the first seek
    entries = stream.index_entries
    # Without one, there are entries of what was read when the file was opened: some seconds.
    return len(entries) > 0 and entries[len(entries) - 1].timestamp >= times[len(times) // 2]
