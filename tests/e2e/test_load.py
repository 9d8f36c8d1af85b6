"""The load command works: a few people and sockets for a few seconds, on a server of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_trial_of_the_load_asks_watches_and_reports(tmp_path):
    command = [sys.executable, "-m", "tests.load", "watchers", "--trial", "--users", "5", "--folder", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    report = (tmp_path / "report.md").read_text()
    assert "| requests failed | 0 " in report
    assert "| events lost: gaps in the numbers | 0 " in report
    assert "| sockets that heard nothing | 0 " in report
    assert {path.name for path in tmp_path.glob("*.png")} == {"users.png", "watchers.png"}
