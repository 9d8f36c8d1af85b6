"""A Parquet file of rows as a source of Ray Data: each of its row groups is a block, read when there is room for it."""

from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata


class Listing(Datasource):
    """The rows of a file that is there for every node."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._metadata = pq.read_metadata(path)

    @property
    def batches(self) -> int:
        return int(self._metadata.num_row_groups)

    def estimate_inmemory_data_size(self) -> int:
        return sum(self._group(number).total_byte_size for number in range(self.batches))

    def get_read_tasks(
        self,
        parallelism: int,  # noqa: ARG002
        per_task_row_limit: int | None = None,
        data_context: object = None,  # noqa: ARG002
    ) -> list[ReadTask]:
        """One for each row group, whatever ``parallelism`` says: a batch is a row group."""
        return [
            ReadTask(
                partial(_read, self._path, number),
                BlockMetadata(
                    num_rows=self._group(number).num_rows,
                    size_bytes=self._group(number).total_byte_size,
                    input_files=None,
                    exec_stats=None,
                ),
                per_task_row_limit=per_task_row_limit,
            )
            for number in range(self.batches)
        ]

    def _group(self, number: int) -> pq.RowGroupMetaData:
        return self._metadata.row_group(number)


def _read(path: Path, number: int) -> list[pa.Table]:
    return [pq.ParquetFile(path).read_row_group(number)]
