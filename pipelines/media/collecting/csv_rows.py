"""Rows of CSV as people save it: UTF-8, with commas, semicolons or tabs, and the columns' names in the first line."""

import csv
import io
from collections.abc import Iterator, Sequence

from pipelines.media.errors import SourceUnsupportedError


def text_of(data: bytes, name: str) -> str:
    """Raises SourceUnsupportedError: it isn't UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceUnsupportedError(f"{name} isn't UTF-8; save it so.") from error


def column_of(columns: Sequence[str], wanted: Sequence[str], name: str) -> str:
    """The first column that is ``wanted``. Raises SourceUnsupportedError: there is none."""
    found = next((each for each in wanted if each in columns), None)
    if found is None:
        there = ", ".join(columns[:20]) or "none"
        raise SourceUnsupportedError(f"{name} has no column {' or '.join(wanted)}; its columns are: {there}.")
    return found


def csv_rows(data: bytes, name: str, wanted: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """What each row has in the first column that is ``wanted``, and in the others by their names in small letters.

    Raises:
        SourceUnsupportedError: there is no such column, or it isn't such a file.
    """
    text = text_of(data, name)
    head = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    try:
        columns = [column.strip().lower() for column in next(rows, [])]
        column = column_of(columns, wanted, name)
        for row in rows:
            told = dict(zip(columns, row, strict=False))
            yield told.pop(column, "").strip(), told
    except csv.Error as error:
        raise SourceUnsupportedError(f"{name}, line {rows.line_num}: {error}.") from error
