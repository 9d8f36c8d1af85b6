"""Look at a container's own structure, without libav: at what it skips or makes good in silence."""

from collections.abc import Callable

from pipelines.media.source import Source
from pipelines.media.validation.containers.avi import check_avi
from pipelines.media.validation.containers.file_bytes import FileBytes, file_bytes
from pipelines.media.validation.containers.flv import check_flv
from pipelines.media.validation.containers.matroska import check_matroska
from pipelines.media.validation.containers.mp4 import check_mp4
from pipelines.media.validation.containers.mpegts import check_mpegts
from pipelines.media.validation.containers.ogg import check_ogg
from pipelines.media.validation.containers.riff_wave import check_wave
from pipelines.media.validation.finding_log import FindingLog

_CHECKS: dict[str, Callable[[FileBytes, FindingLog], bool]] = {
    "mov,mp4,m4a,3gp,3g2,mj2": check_mp4,
    "matroska,webm": check_matroska,
    "mpegts": check_mpegts,
    "avi": check_avi,
    "ogg": check_ogg,
    "flv": check_flv,
    "wav": check_wave,
}


_MARKS: dict[tuple[int, bytes], str] = {
    (4, b"ftyp"): "mov,mp4,m4a,3gp,3g2,mj2",
    (4, b"moov"): "mov,mp4,m4a,3gp,3g2,mj2",
    (4, b"mdat"): "mov,mp4,m4a,3gp,3g2,mj2",
    (0, b"\x1aE\xdf\xa3"): "matroska,webm",
    (8, b"AVI "): "avi",
    (8, b"WAVE"): "wav",
    (0, b"OggS"): "ogg",
    (0, b"FLV\x01"): "flv",
}


def check_structure(source: Source, container: str | None, log: FindingLog, limit: int | None = None) -> bool:
    """Check ``source``, whose format is libav's ``container``, as far as ``limit`` bytes; returns whether to its end.

    One that libav doesn't open (``None``) is told by how it begins.

    Raises:
        SourceError: it can't be opened.
    """
    with file_bytes(source, limit) as data:
        try:
            head = data.read(0, 12)
            marked = (name for (place, mark), name in _MARKS.items() if head[place : place + len(mark)] == mark)
            check = _CHECKS.get(container or next(marked, ""))
            return check is None or check(data, log)
        except OSError as error:
            log.add("read_error", evidence=error.strerror)
            return False
