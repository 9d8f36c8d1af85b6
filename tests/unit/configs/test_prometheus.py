"""The rules that are shipped: promtool takes them, each alert fires when it should, and tells where to read on."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "configs" / "prometheus"
CASES = Path(__file__).parent / "alerts.yml"
RUNBOOKS = ROOT / "docs" / "runbooks.md"


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def promtool(*arguments: str | Path) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool isn't installed; .ci/run installs it, with Debian's package prometheus")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_the_configuration_and_the_rules(tmp_path):
    for file in PROMETHEUS.iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "scrape-token").write_text("token")
    assert "SUCCESS" in promtool("check", "config", tmp_path / "prometheus.yml")


def test_each_alert_fires_when_it_should_and_not_before(tmp_path):
    shutil.copy(PROMETHEUS / "rules.yml", tmp_path)
    shutil.copy(CASES, tmp_path)
    promtool("test", "rules", tmp_path / CASES.name)


def test_each_alert_has_a_case_in_which_it_fires():
    told = re.findall(r'alertname="(\w+)"', CASES.read_text())
    assert {alert["alert"] for alert in alerts()} == set(told)


def test_each_alert_says_what_is_wrong_and_how_bad_it_is():
    for alert in alerts():
        assert alert["labels"]["severity"] in ("warning", "critical")
        assert alert["annotations"]["summary"].endswith(".")


def test_each_alert_has_a_section_in_the_runbooks_and_each_section_an_alert():
    sections = re.findall(r"^## (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert [alert["alert"] for alert in alerts()] == sections
    for alert in alerts():
        assert alert["annotations"]["runbook"] == f"docs/runbooks.md#{alert['alert'].lower()}"
