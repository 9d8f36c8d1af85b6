import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from serve.cli.deploy import app

DOCS = Path(__file__).resolve().parents[4] / "docs" / "deploy"


def examples() -> list[str]:
    """The commands in the pages that print a file, but those with values left out."""
    found = []
    for page in sorted(DOCS.glob("*.md")):
        joined = page.read_text().replace("\\\n", " ")
        found += re.findall(r"^ {4}(?:.*&& )?mediaray deploy (.*?) ?(?:>|\|)", joined, re.MULTILINE)
    return [each for each in found if "…" not in each]


@pytest.mark.parametrize("example", examples())
def test_what_the_pages_say_prints_a_file(example):
    done = CliRunner().invoke(app, shlex.split(example))
    assert done.exit_code == 0, done.output
    if not example.endswith(".service"):
        assert list(yaml.safe_load_all(done.stdout))


def test_there_is_an_example_of_each_platform():
    assert {"aws", "gcp", "azure", "kubernetes", "file"} <= {each.split()[0] for each in examples()}


def test_a_value_that_could_mean_something_else_is_named():
    given = ["kubernetes", "--image", "mediaray:1", "--host", "media.example", "--bucket"]
    done = CliRunner().invoke(app, [*given, "films'; x"])
    assert done.exit_code == 2
    assert "--bucket" in done.output


def test_a_file_that_is_not_shipped_is_refused():
    done = CliRunner().invoke(app, ["file", "../settings.py"])
    assert done.exit_code == 2
