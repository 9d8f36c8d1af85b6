"""What may be written of a query on a collection, and what may not, however it is written."""

import pytest

from pipelines.bulk.conditions import MOST_CHARACTERS, check_columns, check_condition, check_order
from pipelines.jobs.errors import InvalidError

HARMLESS = [
    "kind = 'video'",
    "kind = 'video' AND (height < 720 OR video_codec IN ('mpeg4', 'mjpeg'))",
    "path LIKE '%/2019/%' AND path NOT ILIKE '%.tmp'",
    "regexp_matches(path, '^a.*b$')",
    "size_bytes BETWEEN 1e6 AND 10 * 1000 * 1000",
    "modified_at > now() - INTERVAL 7 DAY",
    "modified_at >= DATE '2024-01-01' AND year(modified_at) = 2024",
    "(probe_result->>'$.tags.artist') = 'Murnau'",
    "probe_state IS DISTINCT FROM 'done' -- not yet",
    "CASE WHEN kind = 'image' THEN width > 1000 ELSE duration_s::INTEGER > 60 END",
    "coalesce(quality_score, 0) < 40 AND NOT starts_with(lower(path), 'x')",
    "list_contains(['a', 'b'], kind)",
    "hamming(phash, 'ffee000011112222') < 4",
    "path = 'it''s; DROP TABLE files'",
]
HOSTILE = [
    # other tables, files and the network
    "uri IN (SELECT content FROM read_text('/etc/passwd'))",
    "EXISTS (SELECT 1 FROM read_csv('/etc/passwd'))",
    "(SELECT count(*) FROM duckdb_settings()) > 0",
    "(FROM '/etc/passwd') IS NULL",
    "1 IN (TABLE files)",
    "true UNION SELECT * FROM read_blob('/etc/passwd')",
    "1 FROM read_csv('/etc/passwd')",
    "uri = getenv('HOME')",
    "uri = current_setting('memory_limit')",
    "(SELECT 1 FROM arrow_scan(1, 2, 3)) = 1",
    "(WITH x AS (SELECT 1) SELECT * FROM x) = 1",
    # other statements
    "true; ATTACH '/tmp/x.db' AS x",
    "true; COPY files TO '/tmp/x.csv'",
    "true; INSTALL httpfs",
    "true; LOAD httpfs",
    "true; PRAGMA database_list",
    "true; SET memory_limit = '100GB'",
    "true; DROP VIEW files",
    "true; SELECT 1",
    "ATTACH '/tmp/x.db'",
    "COPY files TO '/tmp/x.csv'",
    # other parts of the statement
    "true) OR (true",
    "true) UNION SELECT 1 --",
    "true LIMIT 1",
    "true ORDER BY 1",
    "true GROUP BY kind",
    "true AS x",
    "true, true",
    "*",
    "DISTINCT kind",
    "",
    "kind =",
    "true /* never closed",
    # time and memory without end
    "len(range(100000000000)) > 0",
    "len(generate_series(1, 100000000000)) > 0",
    "length(repeat('x', 4000000000)) > 0",
    "length(lpad('x', 2000000000, 'y')) > 0",
    "regexp_replace(regexp_replace(uri, '.', 'xxxxxxxx', 'g'), '.', 'xxxxxxxx', 'g') = ''",
    "uri::BLOB::BIT::VARCHAR::BLOB::BIT::VARCHAR = ''",
    "list_transform([1], x -> x + 1) = [2]",
    "length(format('{:>2000000000}', uri)) > 0",
    "kind = " + "'x' || " * 1000 + "'y'",
    "probe_result || probe_result = kind",
    "lower(" * 500 + "probe_result" + ")" * 500 + " = ''",
    "(probe_result" + "->>'$'" * 100 + ") = ''",
    "levenshtein(probe_result, probe_result) = 0",
    "damerau_levenshtein(probe_result, probe_result) = 0",
    "jaro_winkler_similarity(probe_result, probe_result) = 1",
    # what isn't there for a row
    "row_number() OVER () < 5",
    "count(*) > 1",
    "kind = ?",
    "true\0",
    "kind = '\ud800'",
    "NOT " * 900 + "true",
    "(" * 1990 + "true" + ")" * 1990,
    "kind = $1",
    "nextval('x') = 1",
    "error('x')",
    "random() < 0.5",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_conditions_on_columns_are_taken(text):
    check_condition(text)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:40])
def test_what_reaches_beyond_a_row_is_refused(text):
    with pytest.raises(InvalidError) as refused:
        check_condition(text)
    assert refused.value.code == "parameter_invalid"
    assert len(refused.value.message) < 600


@pytest.mark.parametrize("text", ["path, size_bytes AS bytes", "*", "* EXCLUDE (path)", "upper(kind)"])
def test_columns_are_of_rows(text):
    assert check_columns(text) is False


def test_columns_with_counts_are_of_groups():
    assert check_columns("kind, count(*) AS files, sum(size_bytes)") is True


@pytest.mark.parametrize(
    "text",
    ["path FROM read_csv('/etc/passwd')", "(SELECT 1)", "unnest(range(10))", "1; SELECT 2", "read_text('/x')", ""],
)
def test_columns_that_reach_beyond_a_row_are_refused(text):
    with pytest.raises(InvalidError):
        check_columns(text)


def test_rows_are_sorted_by_columns():
    check_order("size_bytes DESC NULLS LAST, lower(path)")


@pytest.mark.parametrize("text", ["path LIMIT 1", "(SELECT 1)", "path; SELECT 1", "random()", "", "range(10)"])
def test_what_isn_t_an_order_of_columns_is_refused(text):
    with pytest.raises(InvalidError):
        check_order(text)


def test_a_text_without_end_is_refused():
    with pytest.raises(InvalidError, match="4000"):
        check_condition("kind = 'x' OR " * MOST_CHARACTERS + "true")
