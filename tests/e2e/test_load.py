"""The load command works: a few people, sockets and jobs for a few seconds, on a server of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
from load.trend import trend

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


def test_a_trial_of_the_soak_notes_what_is_held(tmp_path):
    command = [sys.executable, "-m", "tests.load", "soak", "--trial", "--folder", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    report = (tmp_path / "report.md").read_text()
    assert "| jobs that didn't succeed | 0 " in report
    for what in ("memory of the API", "memory of the dispatcher", "memory of the progress registry", "processes left"):
        assert f"| {what}" in report
    assert {path.name for path in tmp_path.glob("*.png")} == {"soak.png"}


def test_growth_is_found_in_noise_that_lasts_and_bounded_where_there_is_none():
    saw = [(jobs, float(jobs % 7)) for jobs in range(1000)]
    flat, growing = trend(saw), trend([(jobs, level + jobs / 100) for jobs, level in saw])
    assert abs(flat.slope) < flat.most < 0.001
    assert 0.009 < growing.slope < growing.most < 0.011


def test_the_bound_is_that_of_student_s_t():
    # Ten blocks of one sample: y = x but for ±1 in turn. By hand: slope 1 - 5/82.5, residuals' sum of squares
    # 10 - 25/82.5.
    noisy = trend([(float(x), x + (1.0 if x % 2 == 0 else -1.0)) for x in range(10)])
    assert noisy.slope == pytest.approx(1 - 5 / 82.5)
    assert noisy.most - noisy.slope == pytest.approx(1.8595 * ((10 - 25 / 82.5) / 8 / 82.5) ** 0.5)


def test_too_few_samples_tell_nothing():
    with pytest.raises(ValueError, match="9 samples"):
        trend([(float(x), 0.0) for x in range(9)])
