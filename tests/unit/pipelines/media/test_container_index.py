from pathlib import Path

import media_factory as factory
import pytest
from damage import rewritten

from pipelines.media.container_index import has_index
from pipelines.media.source import open_input

PLAIN = {"preset": "ultrafast", "x264-params": "bframes=0:keyint=10"}
VP8 = {"deadline": "realtime", "cpu-used": "8", "g": "10"}


def has(path: Path) -> bool:
    with open_input(path) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        return has_index(container, stream, [round(number * 0.4 / stream.time_base) for number in range(20)])


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return factory.film(tmp_path_factory.mktemp("films") / "film.mkv", frames=200, options=PLAIN)


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4", "film.ts"])
def test_what_can_be_sought_is_known(film: Path, tmp_path: Path, name: str) -> None:
    assert has(rewritten(film, tmp_path / name, lambda *_: True))


def test_a_recording_without_cues_has_no_index(film: Path, tmp_path: Path) -> None:
    assert not has(rewritten(film, tmp_path / "live.mkv", lambda *_: True, options={"live": "1"}))


def test_ivf_has_none(tmp_path: Path) -> None:
    assert not has(factory.film(tmp_path / "film.ivf", frames=200, codec="libvpx", options=VP8))
