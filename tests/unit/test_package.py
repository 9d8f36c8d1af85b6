"""What an installation has: a checkout has every file, and shows none that a wheel would lack."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cluster", "configs", "pipelines", "serve")
PASSING = {".pyc", ".py"}


def test_every_file_that_is_no_module_is_in_the_wheel():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    shipped = {path for package, globs in declared.items() for glob in globs for path in (ROOT / package).glob(glob)}
    files = {path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()}
    needed = {path for path in files if path.suffix not in PASSING and not path.name.startswith(".")}
    assert needed
    assert needed <= shipped
