import pytest

from pipelines.media.validation.bitstream import zeros_finder

AVCC = bytes([1, 100, 0, 31, 0xFF, 0xE1, 0, 0])  # lengths of four bytes
HVCC = bytes(21) + bytes([3]) + bytes(4)


def unit(*data: int) -> bytes:
    return len(data).to_bytes(4) + bytes(data)


def found(codec: str, packet: bytes, extradata: bytes = b"") -> int | None:
    finder = zeros_finder(codec, extradata)
    assert finder is not None
    return finder(packet)


@pytest.mark.parametrize(
    "packet",
    [
        unit(0x65, 1, 2, 3),
        unit(0x65, 1, 0, 0, 3, 0, 7),  # zeros as the standard writes them
        unit(9) + unit(0x65, 7),  # lengths have zeros
        unit(0x65, 7, 0, 0, 0, 0),  # some writers leave zeros at the end
        unit(0x65, 7, 0, 0, 0, 1, 10),  # and some a start code
    ],
)
def test_nal_units_behind_their_lengths_are_whole(packet: bytes) -> None:
    assert found("h264", packet, AVCC) is None


def test_a_hole_in_a_nal_unit_is_found() -> None:
    packet = unit(9, 0xF0) + unit(0x65, 7, 7, 0, 0, 0, 0, 0, 8, 9)
    assert found("h264", packet, AVCC) == 13


def test_a_hole_in_hevc_is_found() -> None:
    assert found("hevc", unit(0x26, 1, 7, 0, 0, 0, 9), b"\x01" + HVCC[1:]) == 7


def test_a_length_that_leads_out_of_the_packet_is_no_hole() -> None:
    assert found("h264", b"\x00\x10\x00\x00\x65\x07", AVCC) is None


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg4", "h264", "hevc"])
def test_zeros_before_a_start_code_are_no_hole(codec: str) -> None:
    assert found(codec, b"\0\0\0\1\x65\x88\x84" + bytes(40) + b"\1\x41\x9a" + bytes(9)) is None


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg4", "h264", "hevc"])
def test_zeros_before_anything_else_are_a_hole(codec: str) -> None:
    assert found(codec, b"\0\0\0\1\x65\x88\x84" + bytes(40) + b"\2\x41\x9a") == 7


def test_a_long_run_of_zeros_is_a_hole_where_data_is_dense() -> None:
    assert found("vp9", b"\x82\x49" + bytes(200) + b"\x01\x02") == 2


def test_zeros_at_the_end_are_padding() -> None:
    assert found("vp9", b"\x82\x49" + bytes(200)) is None


@pytest.mark.parametrize("codec", ["pcm_s16le", "aac", "prores", None])
def test_of_others_nothing_is_told(codec: str | None) -> None:
    assert zeros_finder(codec, b"") is None
