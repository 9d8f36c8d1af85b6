import os
import pickle
from pathlib import Path

import media_factory as factory
import pytest
from PIL import Image

from pipelines.media.errors import (
    MediaError,
    NotMediaError,
    SourceEmptyError,
    SourceNotFoundError,
    SourceTruncatedError,
    SourceUnreadableError,
    SourceUnsupportedError,
)
from pipelines.media.source import FORMATS, Descriptor, open_input


def _open(path: Path) -> None:
    with open_input(path):
        pass


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"gone\.mp4"):
        _open(tmp_path / "gone.mp4")


def test_zero_bytes_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(SourceEmptyError):
        _open(tmp_path / "empty.mp4")


@pytest.mark.parametrize(
    "content",
    [
        b"Dear diary, this is no film.\n" * 99,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nhttp://10.0.0.1/secret.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        bytes(range(256)) * 64,
    ],
    ids=["text", "hls", "concat", "sdp", "bytes"],
)
def test_what_is_no_media_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "film.mp4").write_bytes(content)
    with pytest.raises(NotMediaError):
        _open(tmp_path / "film.mp4")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff"])
def test_a_picture_is_told_from_what_is_no_media(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / f"picture.{suffix}")
    with pytest.raises(NotMediaError, match="is a picture; image-convert"):
        _open(tmp_path / f"picture.{suffix}")


def test_a_file_cut_before_its_index_is_truncated(tmp_path: Path) -> None:
    whole = factory.grey_ramp(tmp_path / "whole.mp4")
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:-600])
    with pytest.raises(SourceTruncatedError):
        _open(tmp_path / "cut.mp4")


def test_a_damaged_header_is_unreadable(tmp_path: Path, grey_ramp: Path) -> None:
    (tmp_path / "bad.mkv").write_bytes(grey_ramp.read_bytes()[:4] + bytes(2000))
    with pytest.raises(SourceUnreadableError):
        _open(tmp_path / "bad.mkv")


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceUnsupportedError):
        _open(tmp_path / "pipe")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnsupportedError):
        _open(tmp_path)


def test_a_descriptor_keeps_its_position_and_stays_open(grey_ramp: Path) -> None:
    number = os.open(grey_ramp, os.O_RDONLY)
    try:
        os.lseek(number, 7, os.SEEK_SET)
        with open_input(Descriptor(number=number, name="ramp.mkv")) as first:
            assert len(list(first.decode(video=0))) == 50
        with open_input(Descriptor(number=number, name="ramp.mkv")) as again:
            assert len(list(again.decode(video=0))) == 50
        assert os.lseek(number, 0, os.SEEK_CUR) == 7
    finally:
        os.close(number)


def test_a_name_is_never_a_protocol(tmp_path: Path) -> None:
    (tmp_path / "concat:a|b.mkv").write_bytes(factory.grey_ramp(tmp_path / "a.mkv", frames=3).read_bytes())
    _open(tmp_path / "concat:a|b.mkv")


def test_no_format_reads_other_files_or_devices() -> None:
    assert not {"concat", "hls", "dash", "image2", "lavfi", "sdp", "rtsp", "tty", "xbin"} & set(FORMATS.split(","))


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(SourceTruncatedError("cut", end_s=1.5)))
    assert isinstance(error, SourceTruncatedError)
    assert (error.code, str(error), error.fields) == ("source_truncated", "cut", {"end_s": 1.5})


def test_every_error_has_its_own_code() -> None:
    def tree(cls: type[MediaError]) -> list[type[MediaError]]:
        return [cls, *(c for sub in cls.__subclasses__() for c in tree(sub))]

    codes = [cls.code for cls in tree(MediaError)]
    assert len(codes) == len(set(codes))
