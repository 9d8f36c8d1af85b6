"""Each notebook is run as it is committed, one after the other on one cluster; what it displays is counted."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from live_nodes import live_nodes
from live_server import LiveServer, free_port
from PIL import Image

from pipelines.media.sample import make_sample

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
# What each displays at least, by its kind.
SHOWN = {
    "capacity": {"table": 5},
    "first_steps": {"picture": 6},
    "submit_to_a_cluster": {"table": 2},
    "bulk_analysis": {"picture": 3, "table": 4},
    "compare_encoders": {"picture": 8, "table": 1},
}
# As Jupyter does it, where all cells share a namespace that has `display`.
_RUN = """
import json, sys
from pathlib import Path
import pandas as pd
from PIL import Image
shown = []

def display(what):
    assert isinstance(what, (Image.Image, pd.DataFrame, pd.Series)), what
    shown.append("picture" if isinstance(what, Image.Image) else "table")
    what._repr_png_() if isinstance(what, Image.Image) else what.to_string()

space = {"display": display, "__name__": "__main__"}
for number, cell in enumerate(json.loads(Path(sys.argv[1]).read_text())["cells"]):
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), space)
Path(sys.argv[2]).write_text(json.dumps(shown))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    """On a cluster that takes Ray's jobs; beside the folder where notebooks run are the demo's files."""
    with live_nodes() as (server, nodes):
        port = free_port()
        nodes.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{nodes.environment['PATH']}"
        nodes.start_head("--dashboard-port", str(port))
        nodes.join(cpus=min(2, len(os.sched_getaffinity(0))))
        server.env["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{port}"
        server.start()
        demo = server.folder / "demo-output"
        for folder in (demo, demo / "encoders", server.folder / "notebooks"):
            folder.mkdir()
        make_sample(demo / "sample.mp4", duration_s=4, width=640, height=360)
        noise = np.random.default_rng(7).integers(0, 255, (200, 300, 3), np.uint8)
        Image.fromarray(noise).save(demo / "photo.jpg")
        (demo / "broken.mp4").write_bytes(b"no film")
        yield server


@pytest.mark.parametrize("name", sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
def test_a_notebook_runs(server, name):
    shown = server.root / f"{name}.json"
    run = subprocess.run(
        [sys.executable, "-I", "-c", _RUN, str(NOTEBOOKS / f"{name}.ipynb"), str(shown)],
        env=server.env,
        cwd=server.folder / "notebooks",
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}\n{server.story()}"
    assert Counter(json.loads(shown.read_text())) >= Counter(SHOWN[name])
    assert list(server.client().get("/v1/jobs").json()["jobs"]) == []  # each cleans up after itself
