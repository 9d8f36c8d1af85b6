import struct
from fractions import Fraction
from pathlib import Path

import av
import media_factory as factory
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from av.video.frame import VideoFrame
from damage import rewritten
from numpy.typing import NDArray

from pipelines.media.errors import SourceUnsupportedError
from pipelines.media.parts import Part
from pipelines.media.passes import run_pass
from pipelines.media.validation.hash_comparison import compare
from pipelines.media.validation.hash_file import DIGEST_BYTES, HashComparison, HashedStream, join_files, write_rows
from pipelines.media.validation.hashing import FrameHashes, digest_of

PLAIN = {"preset": "veryfast", "x264-params": "bframes=0:keyint=10"}


def hashes(film: Path, streams: tuple[int, ...] = (0,)) -> Path:
    target = film.with_suffix(f"{film.suffix}.parquet")
    digests = FrameHashes()
    run_pass(film, Part(streams=streams), [digests], 1, lambda _: None)
    digests.write(target)
    return target


def differences(before: Path, after: Path, streams: tuple[int, ...] = (0,)) -> HashComparison:
    return compare(hashes(before, streams), hashes(after, streams))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return factory.film(tmp_path / "film.mkv", options=PLAIN)


def test_a_film_has_a_digest_of_each_frame(film: Path) -> None:
    table = pq.read_table(hashes(film))
    assert table.column("pts").to_pylist() == list(range(0, 1600, 40))
    assert len(set(table.column("digest").to_pylist())) == 40


def test_sound_has_a_digest_of_each_packet(rich_film: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    film.write_bytes(rich_film.read_bytes())
    numbers = pq.read_table(hashes(film, (0, 1, 2))).column("stream").to_pylist()
    assert {0, 1, 2} == set(numbers)


def test_threads_and_padding_change_no_digest(film: Path) -> None:
    alone, beside = FrameHashes(), FrameHashes()
    run_pass(film, Part(streams=(0,)), [alone], 1, lambda _: None)
    run_pass(film, Part(streams=(0,)), [beside], 2, lambda _: None)
    alone.write(film.with_name("alone"))
    beside.write(film.with_name("beside"))
    assert pq.read_table(film.with_name("alone")) == pq.read_table(film.with_name("beside"))


def test_pictures_that_lie_upside_down_have_the_digests_of_those_that_dont(tmp_path: Path) -> None:
    """As most of AVI that aren't compressed do."""
    film = factory.film(tmp_path / "film.avi", codec="rawvideo", pixel_format="bgr24", frames=3, options={"b": "1"})
    content = bytearray(film.read_bytes())
    struct.pack_into("<i", content, content.find(b"strf") + 16, factory.HEIGHT)  # a negative one is from the top down
    upside_down = tmp_path / "upside_down.avi"
    upside_down.write_bytes(content)
    digests = pq.read_table(hashes(upside_down)).column("digest").to_pylist()
    assert len(set(digests)) == 3
    with av.open(str(upside_down)) as container:
        straight = [frame.reformat(format="gbrp").reformat(format="bgr24") for frame in container.decode(video=0)]
    assert digests == [digest_of(frame).digest(length=DIGEST_BYTES) for frame in straight]


@pytest.mark.parametrize("height", [factory.HEIGHT, -factory.HEIGHT])
def test_a_picture_of_other_colours_is_another(tmp_path: Path, height: int) -> None:
    colours = np.repeat(np.arange(256, dtype=np.uint8), 4).reshape(256, 4)
    others = colours.copy()
    others[7] = 255
    films = [paletted(tmp_path / f"{number}.avi", each, height) for number, each in enumerate((colours, others))]
    assert differences(*films).changed == 1


def paletted(path: Path, colours: NDArray[np.uint8], height: int) -> Path:
    """One picture of the seventh of ``colours``, from the top down or, of a positive ``height``, from the bottom up."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("rawvideo", rate=25)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = factory.WIDTH, factory.HEIGHT, "pal8"
        picture = np.full((factory.HEIGHT, factory.WIDTH), 7, np.uint8)
        frame = VideoFrame.from_ndarray((picture, colours), format="pal8")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        output.mux([*stream.encode(frame), *stream.encode(None)])
    content = bytearray(path.read_bytes())
    struct.pack_into("<i", content, content.find(b"strf") + 16, height)
    path.write_bytes(content)
    return path


def test_the_same_film_in_another_container_has_the_same_frames(film: Path, tmp_path: Path) -> None:
    copy = rewritten(film, tmp_path / "copy.mkv", lambda *_: True)
    compared = differences(film, copy)
    assert (compared.compared, compared.findings, compared.runs) == (40, (), ())


def test_frames_that_changed_are_told_with_their_times(film: Path, tmp_path: Path) -> None:
    compared = differences(film, factory.with_noise(film, tmp_path / "spoilt.mkv", [15], factory.few_bytes_changed))
    assert compared.changed + compared.missing > 0
    assert compared.runs[0].begin_s == 0.6
    assert compared.runs[-1].last_s <= 0.76  # the next keyframe
    assert all(finding.severity == "error" for finding in compared.findings)


def test_a_frame_that_is_gone_is_missing(film: Path, tmp_path: Path) -> None:
    compared = differences(film, rewritten(film, tmp_path / "less.mkv", lambda number, _: number != 39))
    assert (compared.missing, compared.changed, compared.added) == (1, 0, 0)
    assert (compared.runs[0].what, compared.runs[0].begin_s) == ("missing", 1.56)


def test_frames_that_moved_in_time_are_missing_and_added(film: Path, tmp_path: Path) -> None:
    def later(number: int, packet: "object") -> bool:
        if number >= 30:
            packet.pts, packet.dts = packet.pts + 500, packet.dts + 500  # type: ignore[attr-defined]
        return True

    compared = differences(film, rewritten(film, tmp_path / "late.mkv", later))
    assert (compared.missing, compared.added) == (10, 10)


def test_packets_in_another_order_are_told(tmp_path: Path) -> None:
    rows = [(1, 0, b"a" * 8), (1, 20, b"b" * 8), (1, 40, b"c" * 8)]
    before, after = written(tmp_path / "before", rows), written(tmp_path / "after", [rows[0], rows[2], rows[1]])
    assert compare(before, after).moved == 1


def test_a_stream_that_is_gone_is_missing(tmp_path: Path) -> None:
    before = written(tmp_path / "before", [(0, 0, b"a" * 8), (1, 0, b"b" * 8)])
    after = written(tmp_path / "after", [(0, 0, b"a" * 8)])
    assert compare(before, after).missing == 1


def test_frames_that_follow_each_other_are_one_run(tmp_path: Path) -> None:
    rows = [(1, 20 * number, bytes([number]) * 8) for number in range(10)]
    spoilt = [*rows[:2], *((1, pts, b"!" * 8) for _, pts, _ in rows[2:5]), rows[5], *rows[8:], (1, 200, b"n" * 8)]
    compared = compare(written(tmp_path / "before", rows), written(tmp_path / "after", spoilt))
    assert [(run.what, run.begin_s, run.last_s, run.frames) for run in compared.runs] == [
        ("changed", 0.04, 0.08, 3),
        ("missing", 0.12, 0.14, 2),
        ("added", 0.2, 0.2, 1),
    ]
    assert compared.compared == 8


def test_frames_without_times_are_known_by_their_order(tmp_path: Path) -> None:
    before = written(tmp_path / "before", [(0, None, b"a" * 8), (0, None, b"b" * 8), (0, None, b"c" * 8)])
    after = written(tmp_path / "after", [(0, None, b"a" * 8), (0, None, b"x" * 8)])
    compared = compare(before, after)
    assert (compared.compared, compared.changed, compared.missing) == (2, 1, 1)
    assert {finding.time_s for finding in compared.findings} == {None}


def test_digests_of_a_stream_that_isnt_named_are_no_file_of_hashes(tmp_path: Path) -> None:
    before = written(tmp_path / "before", [(0, 0, b"a" * 8), (1, 0, b"b" * 8)], named=(0,))
    with pytest.raises(SourceUnsupportedError):
        compare(before, written(tmp_path / "after", [(0, 0, b"a" * 8)]))


def test_files_of_parts_are_joined_by_stream(tmp_path: Path) -> None:
    parts = [
        written(tmp_path / "1", [(0, 0, b"a" * 8)]),
        written(tmp_path / "2", [(1, 0, b"s" * 8)]),
        written(tmp_path / "3", [(0, 40, b"b" * 8)]),
    ]
    assert join_files(parts, tmp_path / "all").count == 3
    assert pq.read_table(tmp_path / "all").column("stream").to_pylist() == [0, 0, 1]


def written(path: Path, rows: list[tuple[int, int | None, bytes]], named: tuple[int, ...] = (0, 1)) -> Path:
    streams = [
        HashedStream(index=index, codec="h264", what="frames", time_base="1/1000", start="0", header="")
        for index in named
    ]
    numbers, times, digests = zip(*rows, strict=True)
    write_rows(path, streams, numbers, times, b"".join(digests))
    return path


def test_what_isnt_parquet_is_told(film: Path) -> None:
    with pytest.raises(SourceUnsupportedError):
        compare(film, hashes(film))


def test_parquet_of_something_else_is_told(film: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "other.parquet")
    with pytest.raises(SourceUnsupportedError):
        compare(tmp_path / "other.parquet", hashes(film))
