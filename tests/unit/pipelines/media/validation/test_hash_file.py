from pathlib import Path

import media_factory as factory
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage import rewritten

from pipelines.media.errors import SourceUnsupportedError
from pipelines.media.parts import Part
from pipelines.media.passes import run_pass
from pipelines.media.validation.hash_comparison import compare
from pipelines.media.validation.hash_file import HashComparison, HashedStream, join_files, write_rows
from pipelines.media.validation.hashing import FrameHashes

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


def test_files_of_parts_are_joined_by_stream(tmp_path: Path) -> None:
    parts = [
        written(tmp_path / "1", [(0, 0, b"a" * 8)]),
        written(tmp_path / "2", [(1, 0, b"s" * 8)]),
        written(tmp_path / "3", [(0, 40, b"b" * 8)]),
    ]
    assert join_files(parts, tmp_path / "all").count == 3
    assert pq.read_table(tmp_path / "all").column("stream").to_pylist() == [0, 0, 1]


def written(path: Path, rows: list[tuple[int, int, bytes]]) -> Path:
    streams = [
        HashedStream(index=index, codec="h264", what="frames", time_base="1/1000", start="0", header="")
        for index in sorted({stream for stream, _, _ in rows})
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
