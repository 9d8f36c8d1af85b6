"""Tell files that were never to be films or sound from films and sound that are damaged."""

import codecs
from pathlib import PurePath

from pipelines.media.info import SOUND_SUFFIXES, VIDEO_SUFFIXES
from pipelines.media.source import Source, name_of
from pipelines.media.validation.containers.file_bytes import file_bytes

_HEAD_BYTES = 4096
# Where in a file its mark stands, the mark, and what it marks.
_MARKS = (
    (0, b"\xff\xd8\xff", "a picture (JPEG)"),
    (0, b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
    *((0, mark, "a picture (TIFF)") for mark in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (0, b"\0\0\0\x0cjP  ", "a picture (JPEG 2000)"),
    (0, b"8BPS", "a picture (PSD)"),
    (0, b"\0\0\1\0", "a picture (ICO)"),
    (0, b"BM", "a picture (BMP)"),
    (8, b"WEBP", "a picture (WebP)"),
    (0, b"%PDF-", "a document (PDF)"),
    (0, b"PK\x03\x04", "an archive (ZIP)"),
    (0, b"\x1f\x8b", "an archive (gzip)"),
)


def other_kind(source: Source) -> str | None:
    """What a file that isn't named like a film or sound holds instead; ``None`` where that can't be told.

    Raises:
        SourceError: see ``open_file``.
    """
    if PurePath(name_of(source)).suffix.lower() in VIDEO_SUFFIXES | SOUND_SUFFIXES:
        return None
    with file_bytes(source, None) as data:
        head = data.read(0, _HEAD_BYTES)
    marked = next((kind for place, mark, kind in _MARKS if head.startswith(mark, place)), None)
    return marked or ("text" if _is_text(head) else None)


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # a character may be cut at the end
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
