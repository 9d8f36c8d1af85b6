from pathlib import Path

import media_factory as factory
import numpy as np
import pytest

from pipelines.media.probing.probe import probe
from pipelines.media.sample import make_sample


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_the_sample_holds_what_a_tour_shows(tmp_path: Path, suffix: str) -> None:
    clip = make_sample(tmp_path / f"sample.{suffix}", duration_s=4, width=320, height=180)
    info = probe(clip)
    assert [s.kind for s in info.streams[:3]] == ["video", "audio", "subtitle"]
    assert info.duration_s == pytest.approx(4, abs=0.05)
    assert [chapter.title for chapter in info.chapters] == ["Dawn", "Morning", "Noon", "Dusk"]
    assert info.tags["title"]
    assert len(factory.frame_times(clip)) == 100


def test_the_sample_moves_and_sounds(tmp_path: Path) -> None:
    clip = make_sample(tmp_path / "sample.mkv", duration_s=2, width=320, height=180)
    pictures = factory.lumas(clip)
    assert np.abs(pictures[0] - pictures[-1]).mean() > 10
    assert 0.1 < np.abs(factory.sound(clip)[2]).max() < 1
