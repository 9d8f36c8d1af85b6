"""Fingerprints: of two encodes of a film they are alike, of two films they aren't."""

from pathlib import Path

import media_factory as factory
import numpy as np
import pytest
from numpy.typing import NDArray
from shots import shot

from pipelines.media.errors import NoVideoStreamError
from pipelines.media.fingerprint import fingerprint
from pipelines.media.fingerprint_spec import FRAMES


def pictures(first: int) -> list[NDArray[np.uint8]]:
    return [picture for number in range(FRAMES) for picture in shot(first + number, 10)]


def enlarged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Of 4:2:0, twice as wide and high."""
    height = picture.shape[0] * 2 // 3
    luma, chroma = picture[:height], picture[height:].reshape(2, height // 2, -1)
    planes = [np.kron(plane, np.ones((2, 2), np.uint8)) for plane in (luma, *chroma)]
    return np.concatenate(
        [planes[0], planes[1].reshape(-1, planes[0].shape[1]), planes[2].reshape(-1, planes[0].shape[1])]
    )


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return factory.write_video(tmp_path_factory.mktemp("film") / "film.mkv", pictures(0), options={"crf": "15"})


def differ(one: Path, other: Path) -> list[int]:
    pairs = zip(fingerprint(one).hashes, fingerprint(other).hashes, strict=True)
    return [(int(a, 16) ^ int(b, 16)).bit_count() for a, b in pairs if a and b]


def test_it_has_a_hash_of_each_part_and_what_ranks_the_film(film):
    told = fingerprint(film)
    assert len(set(told.hashes)) == FRAMES
    assert None not in told.hashes
    assert (told.width, told.height, told.duration_s) == (factory.WIDTH, factory.HEIGHT, pytest.approx(3.2, abs=0.05))


def test_another_encode_in_another_size_is_alike(film, tmp_path):
    large = [enlarged(picture) for picture in pictures(0)]
    other = factory.write_video(tmp_path / "other.mp4", large, options={"crf": "38"})
    assert np.median(differ(film, other)) <= 4


def test_another_film_is_not(film, tmp_path):
    other = factory.write_video(tmp_path / "other.mkv", pictures(100))
    assert np.median(differ(film, other)) > 16


def test_what_shows_nothing_tells_nothing(tmp_path):
    ramp = factory.grey_ramp(tmp_path / "ramp.mkv")
    assert fingerprint(ramp).hashes == (None,) * FRAMES


def test_a_film_of_one_frame_has_one_look(tmp_path):
    one = factory.write_video(tmp_path / "one.mkv", shot(1, 1))
    assert len(set(fingerprint(one).hashes)) == 1


def test_sound_alone_has_no_fingerprint(tmp_path):
    sound = factory.write_sound(tmp_path / "sound.flac", [(0.0, factory.tone(1.0, -23.0))], codec="flac")
    with pytest.raises(NoVideoStreamError, match="no moving pictures"):
        fingerprint(sound)
