from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.media.bitmap_subtitles import shows
from pipelines.media.results import TranscodeResult

_PGS = bytes.fromhex("16 0013 0780 0438 10 0001 80 00 00")
_DVB = bytes.fromhex("0f 10 0001")


@pytest.mark.parametrize(
    ("decoder", "data", "shown"),
    [
        ("pgssub", _PGS + bytes.fromhex("01 0000 00 00 0010 0020 17"), True),
        ("pgssub", _PGS + bytes.fromhex("00 17"), False),
        ("pgssub", b"", False),
        ("dvbsub", _DVB + bytes.fromhex("0008 05 84 00 ff 0010 0020"), True),
        ("dvbsub", b"\x20\x00" + _DVB + bytes.fromhex("0008 05 84 00 ff 0010 0020"), True),
        ("dvbsub", _DVB + bytes.fromhex("0002 05 80 0f 80 00"), False),
        ("dvdsub", bytes(40), False),
    ],
)
def test_packets_that_put_something_on_the_screen_are_told_from_those_that_take_it_away(
    decoder: str, data: bytes, shown: bool
) -> None:
    assert shows(decoder, data) == shown


def test_subtitles_on_screen_at_the_start_are_told_as_lost(
    shared_video: Path, transcoded: Callable[..., tuple[Path, TranscodeResult]]
) -> None:
    source = shared_video / "h264_ac3_pgs_subtitles.mkv"
    _, result = transcoded(source, "archive-hevc", start=0.04, preset="ultrafast", height=90)
    assert any("on screen at the start" in warning for warning in result.warnings)
