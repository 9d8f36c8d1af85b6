"""What people write with Ray Data: read images, scale with Pillow, write JPEGs. Prints the seconds."""

import os
import sys
import time
from pathlib import Path

os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")

import numpy as np
import ray
from PIL import Image


def main(source: str, target: str, width: int) -> None:
    Path(target).mkdir(parents=True, exist_ok=True)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.data.from_items([{"warm": 1}]).materialize()

    def thumbnail(row: dict) -> dict:
        image = Image.fromarray(np.asarray(row["image"]))
        image.thumbnail((width, width))
        path = Path(target, Path(row["path"]).name)
        image.save(path, quality=80)
        return {"path": str(path)}

    began = time.perf_counter()
    ray.data.read_images(source, include_paths=True, mode="RGB").map(thumbnail).materialize()
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
