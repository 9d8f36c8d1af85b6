from dataclasses import replace

import pytest

from pipelines.media.upgrades.saving import Compressed, reencode

FINE = Compressed(
    codec="h264",
    size_bytes=1_000_000,
    log2_step=1.0,
    step_of_bits=1.0,
    told=True,
    keyframes_only=False,
)


def saved(before: Compressed, codec: str = "av1", most_loss: float = 5.0) -> int:
    found = reencode(before, codec, most_loss)
    assert found is not None
    assert found.gain.bytes_saved is not None
    return found.gain.bytes_saved


def test_what_is_quantised_more_finely_saves_more() -> None:
    by_step = [saved(replace(FINE, log2_step=step, step_of_bits=step)) for step in (1.0, 2.0, 3.0, 4.0)]
    assert by_step == sorted(by_step, reverse=True)


def test_older_codecs_save_more() -> None:
    by_codec = [saved(replace(FINE, codec=codec)) for codec in ("mpeg2video", "mpeg4", "h264", "hevc", "av1")]
    assert by_codec == sorted(by_codec, reverse=True)


def test_av1_saves_more_than_hevc() -> None:
    assert saved(FINE, "av1") > saved(FINE, "hevc")


def test_pictures_that_are_all_keyframes_save_more() -> None:
    assert saved(replace(FINE, keyframes_only=True)) > saved(FINE)


@pytest.mark.parametrize("most_loss", [4.0, 6.0, 10.0])
def test_no_more_is_lost_than_asked_for(most_loss: float) -> None:
    found = reencode(FINE, "av1", most_loss)
    assert found is not None
    assert -most_loss <= (found.gain.points or 0) < 0


def test_who_takes_more_loss_gets_a_coarser_encode() -> None:
    crfs = [found.crf for loss in (4.0, 6.0, 10.0) if (found := reencode(FINE, "av1", loss))]
    assert crfs == sorted(set(crfs))


def test_where_each_encode_loses_more_there_is_none() -> None:
    assert reencode(replace(FINE, log2_step=0.0), "hevc", 0.1) is None


def test_the_range_holds_the_saving_and_is_wider_where_the_stream_tells_nothing() -> None:
    told, untold = (reencode(replace(FINE, told=each), "av1", 5.0) for each in (True, False))
    assert told is not None
    assert untold is not None
    gains = (told.gain, untold.gain)
    assert all(gain.least_bytes < gain.bytes_saved < gain.most_bytes for gain in gains)  # type: ignore[operator]
    assert told.gain.least_bytes > untold.gain.least_bytes  # type: ignore[operator]
    assert told.gain.confidence > untold.gain.confidence


def test_a_range_promises_no_less_than_nothing() -> None:
    found = reencode(replace(FINE, codec="av1", log2_step=4.0, step_of_bits=4.0), "av1", 5.0)
    assert found is not None
    assert found.gain.least_bytes == 0
