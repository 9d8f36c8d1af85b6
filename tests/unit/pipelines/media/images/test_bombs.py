"""Hostile pictures, through the real child: a typed error or a result, and the next one is done."""

from pathlib import Path

import pytest
from bombs import bombs, metadata_bombs
from PIL import Image

from cluster.child import MediaChild
from cluster.descriptors import SourceDescriptor
from cluster.errors import ChildFailedError
from pipelines.media.images.metadata.metadata_spec import Metadata
from pipelines.media.images.thumbnail_spec import ThumbnailsResult

SHARED = Path(__file__).resolve().parents[6] / "shared" / "media" / "bad" / "image"
SPEC = {"spec": {"sizes": ["64"]}}
FUNCTION = "pipelines.media.images.thumbnails:thumbnails"
CODES = {"limit_exceeded", "source_unreadable", "source_unsupported", "not_media", "source_empty"}
PEAK_BYTES = 1 << 30


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return bombs(tmp_path_factory.mktemp("bombs"))


def done(child: MediaChild, path: Path, folder: Path) -> ThumbnailsResult | ChildFailedError:
    with path.open("rb") as file:
        each = [{"source": SourceDescriptor(file.fileno(), path.name), "target": str(folder / "made")}]
        (made,) = child.call_each(FUNCTION, SPEC, each, ThumbnailsResult, threads=1, limit_s=60)
    return made


def peak_bytes(child: MediaChild) -> int:
    status = Path(f"/proc/{child.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_every_bomb_ends_in_a_typed_error_or_small_and_the_child_lives(child, hostile, tmp_path):
    child.warm()
    pid = child.pid
    codes = {}
    for path in hostile:
        made = done(child, path, tmp_path)
        codes[path.name] = made.code if isinstance(made, ChildFailedError) else None
    assert set(codes.values()) <= {*CODES, None}, codes
    assert {name for name in codes if name.startswith("pixels.")} <= {
        name for name, code in codes.items() if code == "limit_exceeded"
    }
    counted = ("pages.tif", "scans.jpg", "frames.gif", "parts.gif")
    assert {codes[name] for name in counted} == {"limit_exceeded"}
    assert peak_bytes(child) < PEAK_BYTES
    Image.new("RGB", (100, 100), "red").save(tmp_path / "next.png")
    assert isinstance(done(child, tmp_path / "next.png", tmp_path), ThumbnailsResult)
    assert child.pid == pid


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared broken images are not here")
@pytest.mark.parametrize("name", [path.name for path in sorted(SHARED.glob("*"))])
def test_a_shared_broken_picture_ends_in_a_typed_error_or_a_result(child, tmp_path, name):
    made = done(child, SHARED / name, tmp_path)
    assert isinstance(made, ThumbnailsResult) or made.code in CODES


def test_metadata_of_a_bomb_are_changed_soon_or_not_at_all(child, tmp_path):
    """Each takes minutes or gigabytes where work grows with the square of what a file has, or pages share bytes."""
    codes = {}
    for path in metadata_bombs(tmp_path / "bombs"):
        with path.open("rb") as file:
            arguments = {
                "source": SourceDescriptor(file.fileno(), path.name),
                "target": str(tmp_path / path.stem),
                "spec": {"strip": "gps"},
            }
            try:
                child.call("pipelines.media.images.metadata.metadata:metadata", arguments, Metadata, limit_s=20)
                codes[path.name] = None
            except ChildFailedError as error:
                codes[path.name] = error.code
    assert codes == {
        "beginnings.jpg": None,
        "comments.jpg": None,
        "fill.jpg": None,
        "texts-many.png": None,
        "parts.gif": "limit_exceeded",
        "pages-of-one-strip.tif": "limit_exceeded",
        "pages-of-one-value.tif": "limit_exceeded",
        "strips.tif": "limit_exceeded",
    }
    assert peak_bytes(child) < PEAK_BYTES
