"""Bitmap subtitles that don't tell how long they are shown: until another packet takes them away."""

_PGS_COMPOSITION = 0x16
_PGS_OBJECTS = 13  # where a presentation composition segment counts what it shows
_DVB_SYNC, _DVB_PAGE = 0x0F, 0x10
_DVB_HEAD = b"\x20\x00"  # of a PES packet: what it carries
_DVB_PAGE_BYTES = 8  # of a page composition segment that shows nothing


def shows(decoder: str, data: bytes) -> bool:
    """Whether a packet puts something on the screen that stays there; ``decoder`` is libav's name of it.

    Of Blu-ray's (US 2009/0185789 A1) and DVB's (ETSI EN 300 743); of others it isn't told.
    """
    if decoder == "pgssub":
        return len(data) > _PGS_OBJECTS and data[0] == _PGS_COMPOSITION and data[_PGS_OBJECTS] > 0
    if decoder == "dvbsub":
        page = data.removeprefix(_DVB_HEAD)
        return len(page) > _DVB_PAGE_BYTES and page[0] == _DVB_SYNC and page[1] == _DVB_PAGE and page[5] > 2
    return False
