import math
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from unit.pipelines.media.quality.pictures import textured

from pipelines.media.quality.quantiser import QuantiserMeter, index_log2_step

Encode = Callable[..., Path]
FRAMES = 12


def step_of(film: Path) -> float | None:
    """The mean step that a meter finds in a film, in levels."""
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        meter = QuantiserMeter(stream, 1.0)
        frames = 0
        for packet in container.demux(stream):
            if packet.size:
                meter.packet(packet, 0.0)
            for frame in packet.decode():
                meter.picture(frame)
                frames += 1
        assert frames == FRAMES  # whoever looks at packets must leave them to the decoder
        log2_step = meter.taken()
    return None if log2_step is None else 2**log2_step


def lumas() -> list:
    return [textured(number) for number in range(FRAMES)]


@pytest.mark.parametrize("qp", [16, 28, 40])
def test_the_step_of_h264_doubles_every_six(qp: int, encoded: Encode) -> None:
    film = encoded(lumas(), qp=str(qp), preset="ultrafast", **{"x264-params": "ipratio=1:pbratio=1"})
    assert step_of(film) == pytest.approx(2 ** ((qp - 4) / 6), rel=0.02)


def test_ten_bits_have_the_step_of_eight(encoded: Encode, tmp_path: Path) -> None:
    """x264 counts the twelve that ten bits have more of in what it is told."""
    film = encoded(lumas(), qp="28", preset="ultrafast", **{"x264-params": "ipratio=1"})
    deep = tmp_path / "deep.mkv"
    with av.open(str(film)) as source, av.open(str(deep), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"qp": "40", "x264-params": "ipratio=1:bframes=0"})
        stream.width, stream.height, stream.pix_fmt = 384, 256, "yuv420p10le"
        for frame in source.decode(video=0):
            output.mux(stream.encode(frame.reformat(format="yuv420p10le")))
        output.mux(stream.encode(None))
    assert step_of(deep) == pytest.approx(step_of(film), rel=0.05)


def test_hevc_tells_it_in_its_headers(encoded: Encode) -> None:
    params = "log-level=error:ipratio=1:pbratio=1:aq-mode=0:cutree=0:qp=30:bframes=0"
    film = encoded(lumas(), codec="libx265", preset="ultrafast", **{"x265-params": params})
    assert step_of(film) == pytest.approx(2 ** ((30 - 4) / 6), rel=0.15)


@pytest.mark.parametrize(
    ("codec", "coarse", "fine"),
    [
        ("libsvtav1", {"crf": "60", "preset": "12"}, {"crf": "15", "preset": "12"}),
        ("libvpx-vp9", {"crf": "60", "cpu-used": "8"}, {"crf": "10", "cpu-used": "8"}),
        ("mpeg4", {"qmin": "20", "qmax": "20"}, {"qmin": "3", "qmax": "3"}),
        ("mpeg2video", {"qmin": "20", "qmax": "20"}, {"qmin": "3", "qmax": "3"}),
    ],
)
def test_coarser_encodes_of_other_codecs_have_larger_steps(
    codec: str, coarse: dict[str, str], fine: dict[str, str], encoded: Encode
) -> None:
    larger = step_of(encoded(lumas(), "coarse.mkv", codec, **coarse))
    smaller = step_of(encoded(lumas(), "fine.mkv", codec, **fine))
    assert larger is not None
    assert smaller is not None
    assert larger > 3 * smaller > 1


def test_a_codec_whose_decoder_does_not_tell_has_none(encoded: Encode) -> None:
    assert step_of(encoded(lumas(), codec="ffv1")) is None


@pytest.mark.parametrize(("index", "quantiser"), [(0, 4), (50, 57), (110, 132), (140, 215), (212, 801), (255, 1828)])
def test_steps_by_index_are_those_of_the_table(index: int, quantiser: int) -> None:
    assert 2 ** index_log2_step(index) * 8 == pytest.approx(quantiser, rel=0.02)


def test_a_step_is_asked_for_once(encoded: Encode) -> None:
    with av.open(str(encoded(lumas(), qp="28"))) as container:
        meter = QuantiserMeter(container.streams.video[0], 1.0)
        for frame in container.decode(video=0):
            meter.picture(frame)
        assert meter.taken() is not None
        assert meter.taken() is None


def test_the_logarithm_of_a_step_of_one_level_is_nothing() -> None:
    assert index_log2_step(1) == math.log2(8 / 8)
