"""What a caller may write of a query on a collection: expressions of SQL over its own columns, and nothing more.

DuckDB runs SQL with the rights of its process. So a text is first parsed, by DuckDB itself, and refused unless each
part of it is known to be harmless: no subqueries, no tables, no other statements, no function that isn't listed here.
None of those reads anything but its arguments, or takes more time and memory than goes with their length: one that
compares each sign of a text with each of another isn't stopped by limits. And so that their results take no more room
than that of some columns, a text has so many calls at most.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from pipelines.jobs.errors import InvalidError

if TYPE_CHECKING:
    import duckdb

MOST_CHARACTERS = 4000
_MOST_CALLS = 64
_CLASSES = frozenset(
    (
        *("BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION"),
        *("OPERATOR", "TYPE"),
    )
)
_STAR = "STAR"
_TYPES = frozenset(
    (
        *("VARCHAR", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT"),
        *("UINTEGER", "UBIGINT", "FLOAT", "DOUBLE", "DECIMAL", "DATE", "TIME", "INTERVAL", "TIMESTAMP", "TIMESTAMP_S"),
        *("TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE", "JSON", "INT", "TEXT", "BOOL"),
    )
)
_FUNCTIONS = frozenset(
    (
        *("+", "-", "*", "/", "//", "%", "**", "^", "&", "|", "~", "<<", ">>", "@", "^@", "->>", "~~", "!~~"),
        *("~~*", "!~~*", "~~~", "like_escape", "ilike_escape", "not_like_escape", "not_ilike_escape"),
        *("abs", "ceil", "ceiling", "floor", "round", "trunc", "sign", "sqrt", "exp", "ln", "log", "log2", "log10"),
        *("pow", "power", "mod", "greatest", "least", "xor", "bit_count", "ifnull", "nullif", "coalesce"),
        *("lower", "upper", "lcase", "ucase", "length", "strlen", "len", "trim", "ltrim", "rtrim", "left", "right"),
        *("substr", "substring", "split_part", "contains", "starts_with", "prefix", "ends_with", "suffix", "position"),
        *("instr", "strpos", "reverse", "format_bytes", "regexp_matches", "regexp_full_match"),
        *("regexp_extract", "hamming", "mismatches"),
        *("parse_filename", "parse_dirname", "json_extract_string", "json_array_length", "json_exists", "json_type"),
        *("list_contains", "array_contains", "list_has", "array_has", "list_value", "list_extract", "array_extract"),
        *("struct_extract", "element_at", "date_part", "datepart", "date_trunc", "datetrunc", "date_diff", "datediff"),
        *("year", "month", "day", "hour", "minute", "second", "week", "quarter", "dayofweek", "weekday", "dayofyear"),
        *("epoch", "epoch_ms", "strftime", "now", "get_current_timestamp", "current_date", "today", "age"),
        *("to_years", "to_months", "to_weeks", "to_days", "to_hours", "to_minutes", "to_seconds", "make_date"),
    )
)
_AGGREGATES = frozenset({"count", "count_star", "sum", "avg", "min", "max", "median"})
_MISSING = re.compile(r'Referenced column "([^"]+)" not found')
_EMPTY: tuple[object, ...] = (None, [], {}, "", "EMPTY", "STANDARD_HANDLING")


def check_condition(text: str) -> None:
    """Refuse what isn't one condition. Raises InvalidError."""
    listed = _expressions(f"SELECT {text}\n", text, "a condition")
    if len(listed) != 1 or listed[0].get("alias"):
        raise InvalidError(f"{text[:200]!r} isn't one condition. Join several by AND or OR.")
    _check(listed[0], _CLASSES, _FUNCTIONS)


def check_columns(text: str) -> bool:
    """Refuse what isn't a list of columns. True: some are counts or sums, so the others are what rows are grouped by.

    Raises:
        InvalidError
    """
    listed = _expressions(f"SELECT {text}\n", text, "columns")
    for each in listed:
        _check(each, _CLASSES | {_STAR}, _FUNCTIONS | _AGGREGATES)
    return any(part.get("function_name") in _AGGREGATES for each in listed for part in _parts(each))


def check_order(text: str) -> None:
    """Refuse what isn't a list of columns to sort by. Raises InvalidError."""
    node = _parsed(f"SELECT 1 ORDER BY {text}\n", text, "columns to sort by")
    modifiers = node.pop("modifiers")
    if len(modifiers) != 1 or modifiers[0]["type"] != "ORDER_MODIFIER" or not _is_plain(node):
        raise InvalidError(f"{text[:200]!r} can't be what rows are sorted by. Write columns: size_bytes DESC, path.")
    for each in modifiers[0]["orders"]:
        _check(each["expression"], _CLASSES, _FUNCTIONS | _AGGREGATES)


def _as_value(text: str) -> str:
    try:
        check_condition(text)
    except InvalidError as error:
        raise ValueError(error.message) from error
    return text


Condition = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MOST_CHARACTERS - 100,  # an operation adds its own condition
    ),
    AfterValidator(_as_value),
]
Where = Annotated[
    Condition | None,
    Field(description="Which files, by a condition in SQL over the columns: kind = 'video' AND height < 720"),
]


def _expressions(statement: str, text: str, what: str) -> list[dict[str, Any]]:
    node = _parsed(statement, text, what)
    if node.pop("modifiers") or not _is_plain(node):
        raise InvalidError(f"{text[:200]!r} is more than {what}. No other part of a query may follow.")
    listed: list[dict[str, Any]] = node["select_list"]
    return listed


def _parsed(statement: str, text: str, what: str) -> dict[str, Any]:
    """The only node of a statement, as DuckDB understands it."""
    if len(text) > MOST_CHARACTERS:
        raise InvalidError(f"A query's text is at most {MOST_CHARACTERS} characters long.")
    if "\0" in text or text.encode(errors="ignore").decode() != text:
        raise InvalidError(f"{text[:200]!a} has characters that aren't text.")
    found = _parser().cursor().execute("SELECT json_serialize_sql(?)", [statement]).fetchone()
    try:
        told: dict[str, Any] = json.loads(found[0]) if found else {"error": True}
    except RecursionError:
        raise InvalidError(f"{text[:200]!r} is nested too deeply.") from None
    if told["error"]:
        raise InvalidError(f"{text[:200]!r} isn't {what} in SQL: {explained(told.get('error_message', ''))}")
    statements = told["statements"]
    if len(statements) != 1 or statements[0]["node"]["type"] != "SELECT_NODE":
        raise InvalidError(f"{text[:200]!r} is more than {what}. No other part of a query may follow.")
    node: dict[str, Any] = statements[0]["node"]
    return node


def _is_plain(node: Mapping[str, Any]) -> bool:
    """Whether a SELECT has nothing but its list."""
    rest = {name: value for name, value in node.items() if name not in {"type", "select_list", "from_table", "cte_map"}}
    tables = node.get("from_table", {}).get("type", "EMPTY")
    named = node.get("cte_map", {}).get("map", [])
    return tables == "EMPTY" and not named and all(value in _EMPTY for value in rest.values())


def _check(expression: Mapping[str, Any], classes: frozenset[str], functions: frozenset[str]) -> None:
    parts = list(_parts(expression))
    if sum(part.get("class") in {"FUNCTION", "CAST"} for part in parts) > _MOST_CALLS:
        raise InvalidError(f"An expression has at most {_MOST_CALLS} functions, operators and casts.")
    for part in parts:
        kind = part.get("class")
        if kind is not None and kind not in classes:
            raise InvalidError(f"A {kind.lower().replace('_', ' ')} can't be used in a query on a collection.")
        if kind == "FUNCTION" and part["function_name"] not in functions:
            raise InvalidError(f"The function {part['function_name']} can't be used in a query on a collection.")
        if kind == "TYPE" and part["type_name"].upper() not in _TYPES:
            raise InvalidError(f"Nothing can be cast to {part['type_name']} in a query on a collection.")


def _parts(value: object) -> Iterator[Mapping[str, Any]]:
    """An expression and all that it is made of."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            yield each
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def explained(message: str) -> str:
    """Of what DuckDB says of an error, what a caller understands."""
    first, _, more = message.partition("\n")
    if missing := _MISSING.search(first):
        near = ", ".join(re.findall(r'"([^"]+)"', more))
        when = "Columns of a task are there once it has begun. A text is in single quotes: 'image'."
        return f"there is no column {missing[1]}, but {near}. {when}"
    return re.sub(r"^\w+ Error: ", "", first)


@cache
def _parser() -> "duckdb.DuckDBPyConnection":
    import duckdb  # slow to load, and needed only where something is asked for

    return duckdb.connect(
        ":memory:", config={"enable_external_access": False, "lock_configuration": True, "threads": 1}
    )
