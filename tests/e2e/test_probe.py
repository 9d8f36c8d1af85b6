"""A probe beyond the headers, over real HTTP and by the command line."""

import subprocess
import sys


def test_a_deep_probe_tells_packets_picture_and_sound(server, media):
    source = media / "video" / "vp8_vorbis_720p_30s_bbb.webm"
    job = server.wait(server.submit("probe", source, deep=True)["id"])
    assert job["state"] == "succeeded", job["error"]
    result = job["result"]
    assert result["packets"]["video"][0]["groups"]["keyframes"] == 10
    assert result["picture"]["scan"] == "progressive"
    assert -24 < result["sound"]["tracks"][0]["integrated_lufs"] < -22.5


def test_a_person_is_shown_the_gist(server, media):
    command = [
        sys.executable,
        "-I",
        "-m",
        "serve.cli.app",
        "probe",
        str(media / "audio" / "mp3_vbr_id3.mp3"),
        "--packets",
    ]
    done = subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    assert "bit_rate_bps" in done.stdout
    assert "extradata" not in done.stdout


def test_media_tells_the_headers_alone(server, media):
    told = server.get(f"/v1/media?source={media / 'video' / 'h264_pcm_1080p50.mov'}").json()
    assert told["streams"][0]["reference_frames"] == 4
    assert "packets" not in told
