"""Replicas of the API that come with requests and go with them, on a running server, as HAProxy sees them."""

import contextlib
import csv
import json
import socket
from pathlib import Path

from live_server import LiveServer, live_server, until

LIMIT_S = 120.0


def serving(server: LiveServer) -> list[int]:
    """How many requests and sockets each replica has that new ones may go to."""
    folder = Path((server.home / "run" / "folder").read_text())
    with socket.socket(socket.AF_UNIX) as haproxy, contextlib.suppress(OSError):  # a new one takes over
        haproxy.connect(str(next(folder.glob("*/haproxy.sock"))))
        haproxy.sendall(b"show stat\n")
        told = b"".join(iter(lambda: haproxy.recv(1 << 16), b"")).decode()
        rows = csv.DictReader(told.removeprefix("# ").splitlines())
        servers = [row for row in rows if row["svname"] not in ("FRONTEND", "BACKEND") and row["bck"] == "0"]
        return [int(row["scur"]) for row in servers if row["status"].startswith("UP")]
    return []


def test_sockets_bring_a_replica_and_without_them_it_goes_and_tells_those_it_has():
    with (
        live_server(
            MEDIARAY_API_REPLICAS_MAX="2",
            MEDIARAY_API_TARGET_REQUESTS="5",
            MEDIARAY_API_REST_S="1",
            RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S="1",
        ) as server,
        contextlib.ExitStack() as sockets,
    ):
        assert len(serving(server)) == 1
        with contextlib.ExitStack() as first:
            for _ in range(6):
                first.enter_context(server.all_events())
            until(lambda: len(serving(server)) == 2, LIMIT_S, server.story)
            held = [sockets.enter_context(server.all_events()) for _ in range(4)]
            assert all(serving(server)), "the new one gets none"
        until(lambda: len(server.find("replica")) == 1, LIMIT_S, server.story)
        assert len(serving(server)) == 1
        left = [each for each in held if each.protocol.close_code is not None]
        assert {each.protocol.close_code for each in left} == {1012}  # service restart: connect again
        stay = [each for each in held if each not in left]
        assert stay
        (server.folder / "text.mkv").write_bytes(b"no film at all")
        job = server.submit("probe", server.folder / "text.mkv")["id"]
        assert {json.loads(each.recv(timeout=LIMIT_S))["job_id"] for each in stay} == {job}
