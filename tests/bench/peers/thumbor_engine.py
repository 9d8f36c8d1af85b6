"""thumbor's engine, one picture after the other, as its server works: python thumbor_engine.py IN OUT WIDTH."""

import sys
import time
from pathlib import Path

from thumbor.config import Config
from thumbor.context import Context
from thumbor.engines.pil import Engine

source, target, width = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
target.mkdir(parents=True, exist_ok=True)
engine = Engine(Context(config=Config()))
began = time.perf_counter()
for path in sorted(source.glob("*.jpg")):
    engine.load(path.read_bytes(), ".jpg")
    engine.resize(width, round(engine.size[1] * width / engine.size[0]))
    (target / path.name).write_bytes(engine.read(".jpg", 80))
print(time.perf_counter() - began)
