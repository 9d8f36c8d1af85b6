from pathlib import Path

import media_factory as factory
import numpy as np
import pytest
from av.packet import Packet

from pipelines.media.demuxing import UNDATED, PacketTable, packets_of, time_of
from pipelines.media.frames import FrameReader
from pipelines.media.source import open_input


@pytest.fixture(scope="module")
def unlisted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return factory.with_unlisted_sound(tmp_path_factory.mktemp("media") / "film.flv", frames=2600)


def test_a_stream_that_turns_up_on_the_way_takes_nothing_of_the_others(unlisted: Path) -> None:
    told: list[str] = []
    with open_input(unlisted) as container:
        packets = list(packets_of(container, on_unlisted=lambda: told.append("unlisted")))
    assert sum(packet.size > 0 for packet in packets) == 2600
    assert packets[-1].size == 0
    assert told == ["unlisted"]


def test_nothing_is_told_where_all_streams_are_there_from_the_start(tmp_path: Path) -> None:
    told: list[str] = []
    with open_input(factory.film(tmp_path / "film.flv")) as container:
        assert sum(packet.size > 0 for packet in packets_of(container, on_unlisted=lambda: told.append(""))) == 40
    assert not told


def test_packets_of_one_stream_end_with_what_drains_its_decoder(tmp_path: Path) -> None:
    film = factory.film(tmp_path / "film.mkv", options={"x264-params": "bframes=3:rc-lookahead=20"})
    with open_input(film) as container:
        frames = [frame for packet in packets_of(container, container.streams[0]) for frame in packet.decode()]
    assert len(frames) == 40


def test_frames_are_read_to_the_end_where_a_stream_turns_up_on_the_way(unlisted: Path) -> None:
    with open_input(unlisted) as container:
        shown = sorted(packet.pts for packet in packets_of(container) if packet.size and packet.pts is not None)
    with open_input(unlisted) as container:
        reader = FrameReader(container, container.streams.video[0])
        reader.at(shown[-20])
        assert [frame.pts for frame in iter(reader.following, None) if frame] == shown[-19:]


def _packet(pts: int | None, dts: int | None) -> Packet:
    packet = Packet(b"data")
    packet.pts, packet.dts = pts, dts
    return packet


@pytest.mark.parametrize(("pts", "dts", "time"), [(3, 1, 3), (None, 1, 1), (None, None, None)])
def test_a_packet_is_shown_when_it_is_decoded_where_nothing_else_is_told(
    pts: int | None, dts: int | None, time: int | None
) -> None:
    packet = _packet(pts, dts)
    table = PacketTable()
    table.note(packet)
    assert time_of(packet) == time
    assert (table.times == np.array([UNDATED if time is None else time])).all()
