"""Webhooks of a whole server, told to real receivers: through a kill of who tells them, and beside one that hangs."""

import json
import subprocess
import sys
from pathlib import Path

from clips import make_clip
from live_server import live_server, until
from receiver import receiver

SECRET = "whsec_" + "QUJD" * 8


def test_an_end_is_told_though_the_leader_is_killed_before_the_answer(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    with receiver() as hook:
        wanted = {"MEDIARAY_WEBHOOK_URLS": json.dumps([hook.url]), "MEDIARAY_WEBHOOK_SECRET_FILE": str(secret)}
        with live_server(**wanted) as server:
            hook.hold.clear()
            clip = make_clip(server.folder / "clip.mkv", seconds=1)
            job_id = server.submit("probe", clip)["id"]
            first = hook.next()
            assert server.kill("dispatcher")
            hook.hold.set()
            second = hook.next()
            assert first.id == second.id == f"msg_{job_id}"
            assert first.verified(SECRET) == second.verified(SECRET)
            assert second.verified(SECRET)["type"] == "job.succeeded"

            def delivered() -> bool:
                return server.get("/v1/webhooks").json()["deliveries"] == {"pending": 0, "failed": 0, "delivered": 1}

            until(delivered, 30, server.story)
            command = [sys.executable, "-I", "-m", "serve.cli.app", "webhooks", "test", "--json"]
            told = subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=60)
            assert [each["answer"] for each in json.loads(told.stdout)["deliveries"]] == ["204"]
            assert hook.next().verified(SECRET)["type"] == "webhook.test"
            lines = (server.home / "logs" / "up.log").read_text() + server.log()
            assert SECRET not in lines
            assert "key=secret" not in lines


def test_a_host_that_hangs_holds_up_no_webhook_on_another(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    with receiver() as slow, receiver() as hook:
        slow.hold.clear()
        hosts = [slow.url.split("/")[2], hook.url.split("/")[2]]
        wanted = {
            "MEDIARAY_WEBHOOK_HOSTS": json.dumps(hosts),
            "MEDIARAY_WEBHOOK_PRIVATE": "true",
            "MEDIARAY_WEBHOOK_SECRET_FILE": str(secret),
        }
        with live_server(**wanted) as server:
            asked = {"operation": "probe", "source": str(make_clip(server.folder / "clip.mkv", seconds=1))}
            for _ in range(32):  # in one queue they would take four times the 15 s of an attempt
                assert server.post("/v1/jobs", {**asked, "webhook": slow.url}).status_code == 202
            for _ in range(8):
                slow.next()
            job_id = server.post("/v1/jobs", {**asked, "webhook": hook.url}).json()["id"]
            assert hook.next().verified(SECRET)["data"]["id"] == job_id

            def told() -> bool:
                return bool(server.get("/v1/webhooks/deliveries?state=delivered").json()["deliveries"])

            until(told, 30, server.story)
            waiting = server.get("/v1/webhooks/deliveries?state=pending").json()["deliveries"]
            assert {each["host"] for each in waiting} == {hosts[0]}
