"""Containers that are damaged where libav says nothing, or little."""

import os
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import media_factory as factory
import pytest
from damage import rewritten

from pipelines.media.source import open_input
from pipelines.media.validation.containers.file_bytes import FileBytes, file_bytes
from pipelines.media.validation.containers.matroska import check_matroska
from pipelines.media.validation.containers.structure import check_structure
from pipelines.media.validation.finding_log import FindingLog
from pipelines.media.validation.report import Finding

PLAIN = {"preset": "veryfast", "x264-params": "bframes=0:keyint=10"}


def found(path: Path, container: str | None = None, limit: int | None = None) -> dict[str, Finding]:
    log = FindingLog()
    check_structure(path, container, log, limit)
    return {finding.code: finding for finding in log}


def format_of(path: Path) -> str:
    with open_input(path) as container:
        return str(container.format.name)


Made = Callable[[str], tuple[Path, str]]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A film or a tone in the container of a name, and libav's word for it."""

    def make(name: str) -> tuple[Path, str]:
        path = tmp_path / name
        if path.suffix in {".ogg", ".wav"}:
            factory.write_sound(path, [(0.0, factory.tone(4, -20))], codec=CODECS[path.suffix])
        else:
            factory.film(path, frames=60, options=PLAIN)
        return path, format_of(path)

    return make


CODECS = {".ogg": "libopus", ".wav": "pcm_s16le"}
NAMES = ["film.mp4", "film.mkv", "film.avi", "film.ts", "film.flv", "tone.ogg", "tone.wav"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_wrong_with_a_whole_file(made: Made, name: str) -> None:
    path, container = made(name)
    assert not found(path, container)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_was_cut_off_is_told(made: Made, name: str) -> None:
    path, container = made(name)
    path.write_bytes(path.read_bytes()[:-1000])
    findings = found(path, container)
    assert findings.keys() & {"cut_off", "container_damaged", "index_beyond_end"}, findings


@pytest.mark.parametrize("name", ["film.mkv", "film.avi", "film.ts", "film.flv", "tone.ogg"])
def test_bytes_that_are_missing_in_the_middle_are_told(made: Made, name: str) -> None:
    path, container = made(name)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + content[middle + 700 :])
    findings = found(path, container)
    assert findings.keys() & {"container_damaged", "packets_lost", "sync_lost", "cut_off"}, findings


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.avi", "film.ts", "tone.ogg"])
def test_any_bytes_are_looked_at_without_a_failure(made: Made, name: str) -> None:
    path, container = made(name)
    content = bytearray(path.read_bytes())
    for place in range(0, len(content), 37):
        content[place] = place * 89 % 256
    path.write_bytes(content)
    assert found(path, container)


def test_a_file_is_looked_at_as_far_as_is_wanted(made: Made) -> None:
    path, container = made("film.mkv")
    content = bytearray(path.read_bytes())
    content[-300:] = bytes(300)
    path.write_bytes(content)
    assert found(path, container)
    assert not found(path, container, limit=len(content) // 4)


def test_one_that_isnt_opened_is_known_by_how_it_begins(made: Made) -> None:
    path, _ = made("film.mp4")
    content = path.read_bytes()
    path.write_bytes(content[:32] + b"\xff" * 8 + content[40:])
    assert "container_damaged" in found(path)


class TestTransportStream:
    def test_a_packet_that_is_lost_is_told(self, made: Made) -> None:
        path, container = made("film.ts")
        content = path.read_bytes()
        path.write_bytes(content[: 188 * 40] + content[188 * 41 :])
        assert "packets_lost" in found(path, container)

    def test_a_packet_that_comes_twice_is_allowed(self, made: Made) -> None:
        path, container = made("film.ts")
        content = path.read_bytes()
        path.write_bytes(content[: 188 * 40] + content[188 * 39 :])
        assert not found(path, container)

    def test_a_jump_that_is_announced_is_allowed(self, made: Made) -> None:
        path, container = made("film.ts")
        cells = [bytearray(path.read_bytes()[at : at + 188]) for at in range(0, path.stat().st_size, 188)]
        number = next(n for n in range(40, len(cells)) if cells[n][3] & 0x20 and cells[n][4])
        cells[number][5] |= 0x80
        pid = bytes(cells[number][1:3])
        before = next(n for n in range(number - 1, 0, -1) if cells[n][2] == pid[1])
        del cells[before]
        path.write_bytes(b"".join(cells))
        assert not found(path, container)

    @pytest.mark.parametrize(("before", "behind"), [(4, 0), (0, 16)])
    def test_packets_may_be_kept_with_a_time_or_a_checksum(self, made: Made, before: int, behind: int) -> None:
        path, container = made("film.ts")
        content = path.read_bytes()
        cells = [content[at : at + 188] for at in range(0, len(content), 188)]
        del cells[40]
        path.write_bytes(b"".join(bytes(before) + cell + bytes(behind) for cell in cells))
        assert found(path, container).keys() == {"packets_lost"}

    def test_a_packet_that_came_in_broken_is_told(self, made: Made) -> None:
        path, container = made("film.ts")
        content = bytearray(path.read_bytes())
        content[188 * 30 + 1] |= 0x80
        path.write_bytes(content)
        assert "packet_marked_corrupt" in found(path, container)


@dataclass(frozen=True)
class CountingBytes(FileBytes):
    """Notes how many bytes each reading asked for."""

    counts: list[int] = field(default_factory=list)

    def read(self, begin: int, count: int) -> bytes:
        self.counts.append(count)
        return super().read(begin, count)


class TestMatroska:
    def test_a_changed_byte_is_told_by_its_checksum(self, made: Made) -> None:
        path, container = made("film.mkv")
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        assert found(path, container)["checksum_wrong"].severity == "error"

    def test_a_changed_tag_is_a_warning(self, made: Made) -> None:
        path, container = made("film.mkv")
        path.write_bytes(path.read_bytes().replace(b"ENCODER", b"DECODER", 1))
        assert found(path, container)["metadata_changed"].severity == "warning"

    def test_an_index_that_names_what_isnt_there_is_told(self, tmp_path: Path) -> None:
        film = factory.film(tmp_path / "film.mkv", frames=60, options=PLAIN)
        plain = rewritten(film, tmp_path / "plain.mkv", lambda *_: True, options={"write_crc32": "0"})
        content = plain.read_bytes()
        cues = content.rfind(b"\x1c\x53\xbb\x6b")
        place = content.find(b"\xf7\x81\x01\xf1", cues) + 5
        plain.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert "index_wrong" in found(plain, "matroska,webm")

    def test_a_live_recording_has_no_sizes(self, tmp_path: Path) -> None:
        film = factory.film(tmp_path / "film.mkv", options=PLAIN)
        live = rewritten(film, tmp_path / "live.mkv", lambda *_: True, options={"live": "1"})
        assert not found(live, "matroska,webm")

    @pytest.fixture
    def endless(self, tmp_path: Path) -> Path:
        """As what is written live: none of its 50 clusters says how long it is."""
        film = factory.film(tmp_path / "film.mkv", frames=100, options=PLAIN)
        options = {"live": "1", "cluster_time_limit": "80", "write_crc32": "0"}
        live = rewritten(film, tmp_path / "live.mkv", lambda *_: True, options=options)
        content, cluster = bytearray(live.read_bytes()), b"\x1f\x43\xb6\x75"
        place = content.find(cluster)
        while place >= 0:
            length = 9 - content[place + 4].bit_length()
            content[place + 4 : place + 4 + length] = ((1 << 7 * length + 1) - 1).to_bytes(length)
            place = content.find(cluster, place + 4)
        live.write_bytes(content)
        return live

    def test_clusters_without_sizes_are_read_once(self, endless: Path) -> None:
        log = FindingLog()
        with file_bytes(endless, None) as data:
            counting = CountingBytes(data.file, data.size, data.limit)
            assert check_matroska(counting, log)
        assert not list(log)
        assert sum(counting.counts) < 2 * data.size


class TestMp4:
    def test_samples_that_have_sizes_and_no_times_are_told(self, made: Made) -> None:
        path, container = made("film.mp4")
        content = bytearray(path.read_bytes())
        place = content.find(b"stts") + 12
        content[place : place + 4] = struct.pack(">I", 59)
        path.write_bytes(content)
        assert "times" in (found(path, container)["headers_contradict"].evidence or "")

    def test_a_track_whose_length_isnt_its_samples_is_told(self, made: Made) -> None:
        path, container = made("film.mp4")
        content = bytearray(path.read_bytes())
        place = content.find(b"mdhd") + 16
        (rate,) = struct.unpack_from(">I", content, place)
        content[place : place + 4] = struct.pack(">I", rate * 2)
        path.write_bytes(content)
        assert "headers_contradict" in found(path, container)

    def test_a_picture_that_is_named_sound_is_told(self, made: Made) -> None:
        path, container = made("film.mp4")
        content = path.read_bytes()
        place = content.rfind(b"vide")
        path.write_bytes(content[:place] + b"soun" + content[place + 4 :])
        assert "headers_contradict" in found(path, container)

    def test_samples_that_lie_outside_of_the_media_are_told(self, made: Made) -> None:
        path, container = made("film.mp4")
        content = bytearray(path.read_bytes())
        place = content.find(b"stco") + 12
        content[place : place + 4] = struct.pack(">I", 4)
        path.write_bytes(content)
        assert "headers_contradict" in found(path, container)

    def test_fragments_need_no_tables(self, tmp_path: Path) -> None:
        film = factory.film(tmp_path / "film.mkv", options=PLAIN)
        options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        fragments = rewritten(film, tmp_path / "film.mp4", lambda *_: True, options=options)
        assert not found(fragments, "mov,mp4,m4a,3gp,3g2,mj2")

    def test_sound_of_hours_takes_no_memory_for_each_sample(self, tmp_path: Path) -> None:
        sound = factory.write_sound(tmp_path / "tone.mov", [(0.0, factory.tone(4, -20))])
        assert not found(sound, "mov,mp4,m4a,3gp,3g2,mj2")
        hours = changed(changed(sound, b"stsz", 12, 300_000_000), b"stts", 12, 300_000_000)
        tracemalloc.start()
        try:
            assert "headers_contradict" in found(hours, "mov,mp4,m4a,3gp,3g2,mj2")
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()

    def test_sound_whose_samples_lie_behind_the_end_is_told(self, tmp_path: Path) -> None:
        sound = factory.write_sound(tmp_path / "tone.mov", [(0.0, factory.tone(4, -20))])
        assert "index_beyond_end" in found(changed(sound, b"stsz", 8, 400), "mov,mp4,m4a,3gp,3g2,mj2")

    @pytest.mark.parametrize("size", [32, 20])
    def test_a_header_that_is_too_short_is_damage(self, tmp_path: Path, size: int) -> None:
        header = box(b"tkhd", b"\1" + bytes(size - 1))
        film = tmp_path / "film.mp4"
        film.write_bytes(box(b"moov", box(b"trak", header)))
        assert "container_damaged" in found(film) or size < 24

    def test_boxes_without_end_are_damage(self, tmp_path: Path) -> None:
        content = b""
        for _ in range(2000):
            content = box(b"udta", content)
        film = tmp_path / "film.mp4"
        film.write_bytes(box(b"moov", content))
        assert "container_damaged" in found(film)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def changed(film: Path, kind: bytes, at: int, number: int) -> Path:
    """With another number in a table, ``at`` bytes behind its kind."""
    content = bytearray(film.read_bytes())
    struct.pack_into(">I", content, content.find(kind) + at, number)
    film.write_bytes(content)
    return film


class TestWave:
    @pytest.fixture
    def long(self, tmp_path: Path) -> Path:
        """As those of more than 4 GB are written."""
        sound = factory.write_sound(tmp_path / "tone.wav", [(0.0, factory.tone(4, -20))])
        return rewritten(sound, tmp_path / "long.wav", lambda *_: True, options={"rf64": "always"})

    def test_one_with_long_sizes_is_whole(self, long: Path) -> None:
        assert long.read_bytes()[:4] == b"RF64"
        assert not found(long, "wav")

    def test_one_of_more_than_4_gib_is_whole(self, long: Path) -> None:
        content = bytearray(long.read_bytes())
        begin = content.find(b"data") + 8
        struct.pack_into("<Q", content, content.find(b"ds64") + 16, 5 << 30)
        long.write_bytes(content[:begin])
        os.truncate(long, begin + (5 << 30))  # takes no room on the disk
        assert not found(long, "wav")

    def test_one_with_long_sizes_that_was_cut_off_is_told(self, long: Path) -> None:
        long.write_bytes(long.read_bytes()[:-1000])
        assert found(long, "wav").keys() == {"cut_off"}

    @pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
    def test_one_that_was_never_finished_has_no_size(self, made: Made, size: int) -> None:
        path, container = made("tone.wav")
        content = bytearray(path.read_bytes())
        struct.pack_into("<I", content, content.find(b"data") + 4, size)
        path.write_bytes(content)
        assert not found(path, container)


class TestAvi:
    def test_lists_without_end_are_damage(self, tmp_path: Path) -> None:
        content = b""
        for _ in range(2000):
            content = struct.pack("<4sI4s", b"LIST", 4 + len(content), b"rec ") + content
        film = tmp_path / "film.avi"
        film.write_bytes(struct.pack("<4sI4s", b"RIFF", 4 + len(content), b"AVI ") + content)
        assert "container_damaged" in found(film)

    def test_an_index_that_names_another_place_is_told(self, made: Made) -> None:
        path, container = made("film.avi")
        content = bytearray(path.read_bytes())
        place = content.rfind(b"idx1") + 8 + 16 * 20 + 8
        content[place] ^= 0x10
        path.write_bytes(content)
        assert "index_wrong" in found(path, container)

    def test_a_chunk_that_is_gone_is_told(self, made: Made) -> None:
        path, container = made("film.avi")
        content = path.read_bytes()
        begin = content.find(b"00dc", content.find(b"movi") + 4000)
        (size,) = struct.unpack_from("<I", content, begin + 4)
        path.write_bytes(content[:begin] + content[begin + 8 + size + size % 2 :])
        assert {"index_wrong", "counts_contradict"} & found(path, container).keys()
