"""What people write with Daft: download, decode, resize, encode, write. Prints the seconds."""

import sys
import time
from pathlib import Path

import daft
from daft import col
from daft.functions import decode_image, download, encode_image, resize


def main(source: str, target: str, width: int) -> None:
    Path(target).mkdir(parents=True, exist_ok=True)
    files = daft.from_glob_path(f"{source}/*.jpg")
    daft.from_pydict({"warm": [1]}).collect()

    @daft.func
    def written(path: str, data: bytes) -> int:
        return Path(target, Path(path).name).write_bytes(data)

    began = time.perf_counter()
    images = files.with_column("image", decode_image(download(col("path")), mode="RGB"))
    small = images.with_column("data", encode_image(resize(col("image"), width, width * 3 // 4), "jpeg"))
    small.select(written(col("path"), col("data"))).collect()
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
