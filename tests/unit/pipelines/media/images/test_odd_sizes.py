"""All operations on pictures of a pixel or of few lines: a result of finite numbers, or a typed error."""

import json
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from pipelines.media.errors import MediaError
from pipelines.media.images.analysis.analyse import analyse
from pipelines.media.images.analysis.analysis_spec import AnalysisSpec
from pipelines.media.images.conversion.convert import convert
from pipelines.media.images.conversion.convert_spec import ConvertSpec
from pipelines.media.images.enhancement.enhance import enhance
from pipelines.media.images.enhancement.enhance_spec import EnhanceSpec
from pipelines.media.images.metadata.metadata import metadata
from pipelines.media.images.metadata.metadata_spec import MetadataSpec
from pipelines.media.images.thumbnail_spec import ThumbnailSpec
from pipelines.media.images.thumbnails import thumbnails

SIZES = [(1, 1), (1, 3), (3, 1), (400, 2), (2, 400), (20_000, 3), (3, 20_000), (65_000, 10)]
MODES = [("L", "PNG"), ("LA", "PNG"), ("RGB", "JPEG"), ("RGBA", "PNG"), ("P", "PNG"), ("1", "PNG"), ("CMYK", "TIFF")]
OPERATIONS = {
    "analyse": (analyse, AnalysisSpec()),
    "convert to jpeg": (convert, ConvertSpec(format="jpeg", quality=80, effort="fast")),
    "convert and scale": (convert, ConvertSpec(format="png", max_size="7", depth="keep")),
    "convert to webp": (convert, ConvertSpec(format="webp", chroma="4:4:4", quality=70, effort="fast")),
    "enhance": (enhance, EnhanceSpec(denoise=0.5, auto_levels=True, local_contrast=0.5, sharpen=0.5, sharpness=1.5)),
    "enhance alone": (enhance, EnhanceSpec(auto=True)),
    "metadata": (metadata, MetadataSpec(strip="all", artist="Jane")),
    "thumbnails inside": (thumbnails, ThumbnailSpec(sizes=("1", "small", "preview"), placeholder=True)),
    "thumbnails cut": (thumbnails, ThumbnailSpec(sizes=("square", "3x3"), position="attention", format="png")),
    "thumbnails enlarged": (thumbnails, ThumbnailSpec(sizes=("16x16",), fit="cover", position="entropy", enlarge=True)),
}


def ramp(size: tuple[int, int]) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    return Image.fromarray(np.stack([x, y, 255 - x, 255 - y], axis=-1).astype(np.uint8), "RGBA")


def outcome(tmp_path, source, operation: str) -> None:
    call, spec = OPERATIONS[operation]
    with suppress(MediaError):
        result = call(source=source, target=tmp_path / "made", spec=spec)
        json.dumps(result.model_dump(), allow_nan=False)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_odd_sizes_have_a_result_or_a_typed_error(tmp_path, size, operation):
    modes = MODES if size[0] * size[1] < 1000 else MODES[2:3]  # large ones take seconds
    for mode, format_ in modes:
        source = tmp_path / f"{mode}.{format_}"
        ramp(size).convert(mode).save(source, format_)
        outcome(tmp_path, source, operation)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("size", SIZES[:5], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_of_odd_sizes_have_a_result_or_a_typed_error(tmp_path, size, operation, ending):
    source = tmp_path / f"deep.{ending}"
    Image.fromarray(np.arange(size[0] * size[1], dtype=np.uint16).reshape(size[::-1])).save(source)
    outcome(tmp_path, source, operation)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("clear", ["all", "colourless"])
def test_what_shows_nothing_has_a_result(tmp_path, operation, clear):
    image = Image.new("RGBA", (9, 7), (0, 0, 0, 0 if clear == "all" else 255))
    image.save(tmp_path / "source.png")
    outcome(tmp_path, tmp_path / "source.png", operation)
