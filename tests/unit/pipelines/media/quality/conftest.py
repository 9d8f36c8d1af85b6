"""Films of pictures with known detail."""

from collections.abc import Callable, Sequence
from pathlib import Path

import media_factory as factory
import numpy as np
import pytest
from numpy.typing import NDArray
from unit.pipelines.media.quality.pictures import with_chroma


@pytest.fixture
def encoded(tmp_path: Path) -> Callable[..., Path]:
    """Encode lumas at 25 a second: by name of the file, codec and options."""

    def encode(
        lumas: Sequence[NDArray[np.uint8]],
        name: str = "film.mkv",
        codec: str = "libx264",
        gop: int = 25,
        **options: str,
    ) -> Path:
        return factory.write_video(
            tmp_path / name, [with_chroma(luma) for luma in lumas], codec=codec, options=options, gop=gop
        )

    return encode
