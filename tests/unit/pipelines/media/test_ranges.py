"""A file whose bytes come when they are asked for, with a pretend host at the other end."""

import io
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import media_factory as factory
import pytest

from pipelines.media.errors import LimitError
from pipelines.media.images.header import look
from pipelines.media.probing.probe import probe
from pipelines.media.ranges import RangeReader
from pipelines.media.source import Descriptor, open_file, open_input
from pipelines.media.validation.containers.structure import check_structure
from pipelines.media.validation.finding_log import FindingLog

_RANGE = struct.Struct(">QQ")
_BLOCK = 4096


@dataclass
class Host:
    """Brings blocks of a file into an empty one that is as long; ``fails`` from some offset on."""

    whole: bytes
    sparse: Path
    fails: int | None = None
    wishes: list[tuple[int, int]] = field(default_factory=list)

    def serve(self, ours: socket.socket) -> None:
        with ours, self.sparse.open("r+b") as file:
            while wish := ours.recv(_RANGE.size):
                begin, end = _RANGE.unpack(wish)
                self.wishes.append((begin, end))
                if self.fails is not None and end > self.fails:
                    ours.send(_RANGE.pack(0, 0))
                    continue
                begin, end = begin // _BLOCK * _BLOCK, min(-(-end // _BLOCK) * _BLOCK, len(self.whole))
                file.seek(begin)
                file.write(self.whole[begin:end])
                file.flush()
                ours.send(_RANGE.pack(begin, end))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[[bytes], tuple[Descriptor, Host]]]:
    open_now: list[int] = []
    threads: list[threading.Thread] = []

    def served(whole: bytes) -> tuple[Descriptor, Host]:
        sparse = tmp_path / "sparse"
        sparse.write_bytes(b"")
        os.truncate(sparse, len(whole))
        host = Host(whole, sparse)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        open_now.extend((os.open(sparse, os.O_RDONLY), theirs.detach()))
        threads.append(threading.Thread(target=host.serve, args=(ours,)))
        threads[-1].start()
        return Descriptor(number=open_now[-2], name="film.mkv", ranges=open_now[-1]), host

    yield served
    for number in open_now:
        os.close(number)
    for thread in threads:
        thread.join()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    pictures = [factory.grey(factory.ramp_level(number)) for number in range(50)]
    factory.write_video(tmp_path / "film.mkv", pictures)
    return tmp_path / "film.mkv"


def reader(source: Descriptor) -> RangeReader:
    assert source.ranges is not None
    return RangeReader(source.number, source.ranges)


def test_it_reads_as_a_file_does(served):
    whole = os.urandom(10 * _BLOCK + 7)
    file = reader(served(whole)[0])
    assert file.read(100) == whole[:100]
    assert file.seek(-7, os.SEEK_END) == file.tell() == 10 * _BLOCK
    assert file.read(100) == whole[-7:]
    assert file.read(100) == b""
    file.seek(_BLOCK - 1)
    file.seek(1, os.SEEK_CUR)
    assert file.read(5) == whole[_BLOCK : _BLOCK + 5]


def test_what_is_there_isn_t_asked_for_again(served):
    source, host = served(os.urandom(4 * _BLOCK))
    file = reader(source)
    for _ in range(4):
        file.read(_BLOCK // 4)
    assert host.wishes == [(0, _BLOCK // 4)]


def test_several_readers_of_one_source_don_t_take_each_others_answers(served):
    whole = os.urandom(200 * _BLOCK)
    source, _ = served(whole)
    found: dict[int, bytes] = {}

    def read(part: int) -> None:
        file, length = reader(source), 50 * _BLOCK
        file.seek(part * length)
        found[part] = b"".join(iter(lambda: file.read(min(1000, (part + 1) * length - file.tell())), b""))

    threads = [threading.Thread(target=read, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b"".join(found[part] for part in range(4)) == whole


def test_a_film_that_comes_in_parts_is_that_film(served, film):
    source, _ = served(film.read_bytes())
    assert probe(source) == probe(film)
    with open_input(source) as container, open_input(film) as whole:
        assert [bytes(packet) for packet in container.demux()] == [bytes(packet) for packet in whole.demux()]


def test_of_bytes_that_are_read_at_some_places_no_others_are_asked_for(served):
    whole = os.urandom(10 * _BLOCK)
    source, host = served(whole)
    with io.BufferedReader(open_file(source), _BLOCK) as file:
        file.seek(7 * _BLOCK)
        assert file.read(10) == whole[7 * _BLOCK : 7 * _BLOCK + 10]
        assert host.wishes == [(7 * _BLOCK, 8 * _BLOCK)]
        file.seek(0)
        assert file.read() == whole


def test_a_picture_that_is_too_large_is_refused_by_its_size(served):
    source, host = served(bytes(257 << 20))
    with pytest.raises(LimitError, match="257 MiB"):
        look(source)
    assert host.wishes == []


def test_of_a_container_s_structure_only_what_tells_it_is_asked_for(served, tmp_path):
    factory.write_video(tmp_path / "film.mp4", [factory.grey(factory.ramp_level(number)) for number in range(5)])
    film = (tmp_path / "film.mp4").read_bytes()
    skipped = 100 * _BLOCK
    source, host = served(film + skipped.to_bytes(4) + b"free" + bytes(skipped - 8) + b"\0\0\0\x08free")
    log = FindingLog()
    assert check_structure(source, "mov,mp4,m4a,3gp,3g2,mj2", log)
    assert sum(end - begin for begin, end in host.wishes) < len(film) + _BLOCK


def test_bytes_that_can_t_be_had_are_an_error_and_no_end(served, film):
    source, host = served(film.read_bytes())
    host.fails = 0
    with pytest.raises(OSError, match="can't be had"), open_input(source):
        pass
    with pytest.raises(OSError, match="can't be had"), open_file(source) as file:
        file.read(1)
