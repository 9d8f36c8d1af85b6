import pytest

from pipelines.media.units import parse_bit_rate, parse_crop, parse_frame_rate, parse_seconds


@pytest.mark.parametrize(
    ("text", "bits"), [(128000, 128_000), ("128k", 128_000), ("2M", 2_000_000), ("2.5M", 2_500_000), ("96000", 96_000)]
)
def test_bit_rates(text: object, bits: int) -> None:
    assert parse_bit_rate(text) == bits


@pytest.mark.parametrize(
    ("text", "seconds"), [(90, 90), ("90", 90), ("1:30", 90), ("00:01:30.5", 90.5), ("1:00:00", 3600), ("0.25", 0.25)]
)
def test_times(text: object, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "rate"),
    [(25, "25"), (29.97, "30000/1001"), ("23.976", "24000/1001"), (12.5, "25/2"), ("30000/1001", "30000/1001")],
)
def test_frame_rates(text: object, rate: str) -> None:
    assert parse_frame_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "crop"), [("1280x536+0+92", "1280x536+0+92"), ("101x51+3+5", "100x50+2+4"), (" 16X16+0+0 ", "16x16+0+0")]
)
def test_crops(text: str, crop: str) -> None:
    assert parse_crop(text) == crop


@pytest.mark.parametrize("text", ["all", "100x100", "100x100+0", "1x100+0+0", "100x100-2+0", "100:100:0:0", 100])
def test_what_is_no_crop_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="crop"):
        parse_crop(text)


@pytest.mark.parametrize("text", ["fast", "", "-1", "1x", True, "9" * 400, "2", "1001M"])
def test_what_is_no_bit_rate_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="bit rate"):
        parse_bit_rate(text)


@pytest.mark.parametrize("text", ["soon", "1:99", "", "1/0"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_seconds(text)


@pytest.mark.parametrize("text", ["fast", 0, 1000])
def test_what_is_no_frame_rate_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="frame rate"):
        parse_frame_rate(text)
