import struct
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import media_factory as factory
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.media.probing.pictures import look_at_picture
from pipelines.media.probing.probe import probe
from pipelines.media.probing.probe_result import PictureBox, PictureFindings

Picture = NDArray[np.uint8]
COMBED = factory.woven(factory.whole_pictures(180, step=3))


def found_in(film: Path, told: Callable[[float], None] = lambda _: None) -> PictureFindings:
    return look_at_picture(film, probe(film), 1, lambda progress: told(progress.fraction))


def framed(pictures: Iterable[Picture], top: int, bottom: int, left: int, right: int, black: int = 16) -> list[Picture]:
    """Black bars over the edges of pictures of 96 by 64."""
    made = []
    for picture in pictures:
        one = picture.copy()
        inner = one[top : factory.HEIGHT - bottom, left : factory.WIDTH - right].copy()
        one[: factory.HEIGHT] = black
        one[top : factory.HEIGHT - bottom, left : factory.WIDTH - right] = inner
        made.append(one)
    return made


def box_of(film: Path) -> PictureBox | None:
    return found_in(film).box


@pytest.mark.parametrize(
    ("pictures", "options", "scan"),
    [
        (factory.whole_pictures(90), None, "progressive"),
        (factory.whole_pictures(90), factory.FIELDS_OPTIONS, "progressive"),
        (COMBED, None, "unmarked"),
        (COMBED, factory.FIELDS_OPTIONS, "interlaced"),
        (factory.telecined_pictures(factory.whole_pictures(96)), factory.FIELDS_OPTIONS, "telecined"),
        ([factory.grey(60)] * 60, None, None),
    ],
    ids=["whole", "whole but marked", "combed", "combed and marked", "telecined", "still"],
)
def test_how_pictures_are_made_is_measured(
    tmp_path: Path, pictures: Sequence[Picture], options: dict[str, str] | None, scan: str | None
) -> None:
    rate = factory.NTSC
    film = factory.write_video(tmp_path / "film.mkv", pictures, time_base=1 / rate, rate=rate, options=options)
    assert found_in(film).scan == scan


def test_fields_are_counted(tmp_path: Path) -> None:
    fields = found_in(factory.fields_film(tmp_path / "film.mkv", COMBED)).fields
    assert fields.top_first > 80
    assert (fields.progressive, fields.bottom_first, fields.marked) == (0, 0, 90)


def test_what_looks_combed_in_either_order_is_not(tmp_path: Path) -> None:
    """A fence that moves."""
    pictures = [factory.grey(60) for _ in range(60)]
    for number, picture in enumerate(pictures):
        picture[number % 2 : factory.HEIGHT : 2, :] = 200
    assert found_in(factory.write_video(tmp_path / "film.mkv", pictures)).scan in {None, "progressive"}


@pytest.mark.parametrize(
    ("bars", "crop"),
    [((8, 8, 0, 0), "96x48+0+8"), ((0, 0, 12, 12), "72x64+12+0"), ((6, 10, 4, 14), "78x48+4+6")],
    ids=["letterbox", "pillarbox", "uneven"],
)
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "rgb24"])
def test_black_bars_are_found(tmp_path: Path, bars: tuple[int, int, int, int], crop: str, pixel_format: str) -> None:
    codec = "libx264rgb" if pixel_format == "rgb24" else "libx264"
    pictures = framed(factory.moving_pictures(30), *bars)
    film = factory.write_video(tmp_path / "film.mkv", pictures, codec=codec, pixel_format=pixel_format)
    box = box_of(film)
    assert box is not None
    assert (box.crop, box.bars, box.of_width, box.of_height) == (crop, True, 96, 64)
    assert crop == f"{box.width}x{box.height}+{box.left}+{box.top}"


def test_a_picture_without_bars_is_whole(tmp_path: Path) -> None:
    box = box_of(factory.film(tmp_path / "film.mkv", 30))
    assert box is not None
    assert (box.crop, box.bars) == ("96x64+0+0", False)


def test_dark_scenes_are_no_bars(tmp_path: Path) -> None:
    pictures = framed(factory.moving_pictures(60), 8, 8, 0, 0)
    pictures[10:40] = framed(pictures[10:40], 24, 24, 20, 20)
    pictures[40:44] = [factory.grey(16)] * 4
    box = box_of(factory.write_video(tmp_path / "film.mkv", pictures))
    assert box is not None
    assert box.crop == "96x48+0+8"


def test_bars_that_are_not_quite_black_are_found(tmp_path: Path) -> None:
    pictures = framed(factory.moving_pictures(30), 8, 8, 0, 0, black=19)
    box = box_of(factory.write_video(tmp_path / "film.mkv", pictures, options={"crf": "30"}))
    assert box is not None
    assert (box.height, box.top) == (48, 8)


@pytest.mark.parametrize(
    "pictures",
    [[factory.grey(16)] * 30, factory.moving_pictures(4), [factory.grey(16)] * 28 + factory.moving_pictures(2)],
    ids=["black", "few", "hardly ever lit"],
)
def test_what_cannot_be_told_is_not(tmp_path: Path, pictures: list[Picture]) -> None:
    assert box_of(factory.write_video(tmp_path / "film.mkv", pictures)) is None


def test_an_edge_that_one_frame_alone_reaches_is_in_doubt(tmp_path: Path) -> None:
    pictures = framed(factory.moving_pictures(60), 8, 8, 0, 0)
    pictures[30][:8] = 200
    assert box_of(factory.write_video(tmp_path / "film.mkv", pictures)) is None


@pytest.mark.parametrize(
    ("clockwise", "mirrored", "crop"),
    [
        (0, False, "80x64+4+0"),
        (90, False, "64x80+0+4"),
        (180, False, "80x64+12+0"),
        (270, False, "64x80+0+12"),
        (0, True, "80x64+12+0"),
    ],
)
def test_the_box_is_told_as_the_picture_is_shown(tmp_path: Path, clockwise: int, mirrored: bool, crop: str) -> None:
    pictures = framed(factory.moving_pictures(30), 0, 0, 4, 12)
    box = box_of(factory.write_video(tmp_path / "film.mp4", pictures, rotation=(-clockwise, mirrored)))
    assert box is not None
    assert box.crop == crop


def test_the_box_has_square_pixels(tmp_path: Path) -> None:
    pictures = framed(factory.moving_pictures(30), 8, 8, 0, 0)
    box = box_of(factory.write_video(tmp_path / "film.mkv", pictures, aspect=Fraction(4, 3)))
    assert box is not None
    assert (box.crop, box.of_width) == ("128x48+0+8", 128)


def test_a_long_film_is_sampled_in_many_places(tmp_path: Path) -> None:
    pictures = framed(factory.moving_pictures(100), 8, 8, 0, 0) * 8
    found = found_in(factory.write_video(tmp_path / "film.mkv", pictures, gop=25))
    assert found.pictures == 204
    assert not found.whole
    assert len(found.sampled_at_s) == 15
    assert found.sampled_at_s[0] == pytest.approx(32 / 24, abs=1.1)
    assert found.sampled_at_s[-1] == pytest.approx(32 * 23 / 24, abs=1.1)
    assert found.box is not None
    assert found.box.crop == "96x48+0+8"


def test_no_picture_of_one_long_group_is_looked_at_twice(tmp_path: Path) -> None:
    pictures = factory.whole_pictures(400)
    found = found_in(factory.write_video(tmp_path / "film.mkv", pictures, gop=1000, options={"crf": "10"}))
    assert 60 < found.pictures <= 204
    assert list(found.sampled_at_s) == sorted(set(found.sampled_at_s))
    assert found.scan == "progressive"


def test_a_short_film_is_looked_at_whole(tmp_path: Path) -> None:
    found = found_in(factory.film(tmp_path / "film.mkv", 40))
    assert (found.pictures, found.whole, found.sampled_at_s) == (40, True, (0.0,))


def test_one_picture_is_told_of(tmp_path: Path) -> None:
    found = found_in(factory.film(tmp_path / "film.mkv", 1))
    assert (found.pictures, found.scan, found.box, found.warnings) == (1, None, None, ())
    assert found.hdr is not None
    assert found.hdr.kind == "sdr"


def test_a_raw_stream_is_looked_at_from_its_start(tmp_path: Path) -> None:
    film = factory.write_video(tmp_path / "film.mkv", factory.whole_pictures(60), options={"crf": "10"})
    found = found_in(factory.stream_of(film, tmp_path / "film.h264"))
    assert (found.pictures, found.scan) == (60, "progressive")


def test_what_does_not_decode_is_told(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", 40)
    found = found_in(factory.with_noise(film, tmp_path / "spoiled.mkv", range(40)))
    assert (found.pictures, found.hdr) == (0, None)
    assert found.warnings == ("No picture of spoiled.mkv decodes.",)


def test_damage_hides_only_what_is_damaged(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", 40)
    found = found_in(factory.with_noise(film, tmp_path / "spoiled.mkv", range(10)))
    assert found.pictures >= 25


def test_progress_goes_to_the_end(tmp_path: Path) -> None:
    told: list[float] = []
    found_in(factory.write_video(tmp_path / "film.mkv", factory.moving_pictures(100) * 4), told.append)
    assert told == sorted(told)
    assert len(told) == 16
    assert told[-1] == 1


class _Bits:
    """Writes numbers of some bits each."""

    def __init__(self) -> None:
        self._text = ""

    def put(self, value: int, bits: int) -> None:
        self._text += f"{value:0{bits}b}"

    @property
    def data(self) -> bytes:
        text = self._text + "0" * (-len(self._text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")


def hdr10_plus() -> bytes:
    """A message of SMPTE ST 2094-40 with one window and no curves, as an SEI of HEVC registered by ITU-T T.35."""
    bits = _Bits()
    for value, width in ((1, 2), (400, 27), (0, 1)):  # windows, target luminance, no peaks of the target
        bits.put(value, width)
    for value in (5000, 5000, 5000, 3000):  # brightest of red, green, blue; their average
        bits.put(value, 17)
    for value, width in ((0, 4), (0, 10), (0, 1), (0, 1), (0, 1)):  # no percentiles, no peaks, no curve, no weight
        bits.put(value, width)
    payload = struct.pack(">BHHBB", 0xB5, 0x003C, 0x0001, 4, 1) + bits.data
    nal = b"\x4e\x01" + bytes((4, len(payload))) + payload + b"\x80"
    nal = nal.replace(b"\0\0\0", b"\0\0\3\0").replace(b"\0\0\1", b"\0\0\3\1")  # no start codes
    return struct.pack(">I", len(nal)) + nal


HDR10 = (
    "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:max-cll=1000,400:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
)


@pytest.fixture
def hdr10(tmp_path: Path) -> Path:
    pictures = [factory.grey(90, 128, 128)] * 5
    options = {"x265-params": HDR10}
    return factory.write_video(
        tmp_path / "hdr10.mp4", pictures, codec="libx265", pixel_format="yuv420p10le", options=options
    )


def test_hdr10_is_confirmed_by_its_frames(hdr10: Path) -> None:
    hdr = found_in(hdr10).hdr
    assert hdr is not None
    assert (hdr.kind, hdr.color_transfer, hdr.color_primaries) == ("hdr10", "smpte2084", "bt2020")
    assert hdr.mastering_display is not None
    assert (hdr.mastering_display.max_luminance, hdr.mastering_display.min_luminance) == (1000, 0.0001)
    assert hdr.content_light is not None
    assert (hdr.content_light.max_cll, hdr.content_light.max_fall) == (1000, 400)


def test_dynamic_metadata_makes_it_hdr10_plus(hdr10: Path, tmp_path: Path) -> None:
    film = factory.with_noise(hdr10, tmp_path / "plus.mp4", range(1000), lambda data: hdr10_plus() + data)
    hdr = found_in(film).hdr
    assert hdr is not None
    assert (hdr.kind, hdr.hdr10_plus_frames) == ("hdr10_plus", 5)


def test_dolby_vision_is_confirmed_by_its_frames(shared_video: Path) -> None:
    hdr = found_in(shared_video / "hevc_10bit_hlg_dolbyvision_rot90.mp4").hdr
    assert hdr is not None
    assert (hdr.kind, hdr.dolby_vision_frames, hdr.color_transfer) == ("dolby_vision", 9, "arib-std-b67")
