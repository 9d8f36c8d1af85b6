"""What a collection is like, in figures and as a page."""

import re

import pytest
from PIL import Image
from unit.pipelines.bulk.shelves import ANALYSIS, FILM, PICTURE, PROBE, row, shelf, tell

from pipelines.bulk.operations.collection_report import OPERATION
from pipelines.bulk.report_page import charts_of, page_of
from pipelines.bulk.reporting import report_on
from pipelines.jobs.errors import InvalidError
from pipelines.jobs.workbench import Finished


@pytest.fixture
def photos(tmp_path):
    """Six pictures of the same size; the last takes ten times as many bytes."""
    names = [f"{number}.jpg" for number in range(6)]
    rows = [row(name, size_bytes=10_000_000 if name == "5.jpg" else 1_000_000) for name in names]
    collection = shelf(tmp_path, rows)
    tell(collection, ANALYSIS, {name: {**PICTURE, "quality": {"score": 12.0 * int(name[0])}} for name in names})
    return collection


def test_files_are_counted_by_kind_and_format(tmp_path):
    report = report_on(shelf(tmp_path), None)
    assert (report.files, report.described, report.size_bytes, report.duration_s) == (5, 3, 26_000, 63.5)
    assert {group.name: group.files for group in report.kinds} == {"video": 2, "image": 2, "audio": 1}
    assert {group.name: group.files for group in report.formats} == {"matroska,webm": 1, "flac": 1, "jpeg": 1, None: 2}
    assert {group.name: group.files for group in report.audio_codecs} == {"aac": 1, "flac": 1, None: 1}


def test_failures_are_told_by_task_and_code(tmp_path):
    rows = [row("a.jpg"), row("z.jpg", state="unreadable", code="source_unreadable", message="no permission")]
    collection = shelf(tmp_path, rows)
    tell(collection, ANALYSIS, {}, failed=["a.jpg"])
    failures = [(each.task, each.code, each.files) for each in report_on(collection, None).failures]
    assert failures == [(None, "source_unreadable", 1), ("image_analyze", "media_invalid", 1)]


def test_scores_are_told_in_tens(photos):
    assert [(each.least, each.files) for each in report_on(photos, None).quality] == [
        *((0, 1), (10, 1), (20, 1), (30, 1), (40, 1), (60, 1))
    ]


def test_a_score_of_100_is_in_the_last_ten(tmp_path):
    collection = shelf(tmp_path, [row("a.jpg")])
    tell(collection, ANALYSIS, {"a.jpg": {**PICTURE, "quality": {"score": 100.0}}})
    assert [(each.least, each.files) for each in report_on(collection, None).quality] == [(90, 1)]


def test_a_file_with_far_more_bits_than_its_kind_is_waste(photos):
    waste = report_on(photos, None).waste
    (only,) = waste.listed
    assert (waste.files, only.path, only.codec) == (1, "5.jpg", "jpeg")
    assert only.usual == pytest.approx(8 * 1_000_000 / 12_000_000)
    assert waste.gain_bytes == 9_000_000


def test_an_animation_counts_each_of_its_frames(photos):
    moving = {**PICTURE, "source": {**PICTURE["source"], "frames": 10}}
    tell(photos, ANALYSIS, {f"{number}.jpg": PICTURE if number < 5 else moving for number in range(6)})
    assert report_on(photos, None).waste.files == 0


def test_of_few_files_nothing_is_usual(tmp_path):
    collection = shelf(tmp_path, [row(f"{n}.jpg", size_bytes=10**n) for n in range(4, 8)])
    tell(collection, ANALYSIS, {f"{n}.jpg": PICTURE for n in range(4, 8)})
    assert report_on(collection, None).waste.files == 0


def test_films_are_compared_by_codec_and_frame_rate(tmp_path):
    names = [f"{number}.mkv" for number in range(6)]
    collection = shelf(tmp_path, [row(name, "video", size_bytes=30_000_000) for name in names])
    rates = {name: 40_000_000 if name == "0.mkv" else 4_000_000 for name in names}
    tell(collection, PROBE, {name: {**FILM, "bit_rate_bps": rate} for name, rate in rates.items()})
    (only,) = report_on(collection, None).waste.listed
    assert (only.path, only.codec, only.gain_bytes) == ("0.mkv", "h264", 27_000_000)


def test_a_report_is_of_what_was_asked_for(tmp_path):
    report = report_on(shelf(tmp_path), "kind = 'audio'")
    assert (report.files, report.duration_s) == (1, 3.5)
    with pytest.raises(InvalidError):
        report_on(shelf(tmp_path), "true) OR (true")


def test_an_empty_collection_has_a_report(tmp_path):
    report = report_on(shelf(tmp_path, []), None)
    assert (report.files, report.size_bytes, report.kinds) == (0, 0, ())
    assert "0 files" in page_of(report)


def test_many_groups_are_told_as_others(tmp_path):
    collection = shelf(tmp_path, [row(f"{n:02d}.jpg", size_bytes=1000 - n) for n in range(30)])
    told = {f"{n:02d}.jpg": {**PICTURE, "source": {**PICTURE["source"], "format": f"f{n}"}} for n in range(30)}
    tell(collection, ANALYSIS, told)
    formats = report_on(collection, None).formats
    assert (len(formats), formats[-1].name, formats[-1].files) == (20, "others", 11)
    assert sum(group.files for group in formats) == 30


def test_the_page_loads_and_runs_nothing(photos):
    page = page_of(report_on(photos, None))
    assert not re.search(r"<script|<link|<img|@import|url\(|https?://|javascript:| on\w+=", page)
    assert page.count("<svg") == page.count("</svg>") >= 4


def test_the_page_s_plots_are_pictures_too(desk):
    report = report_on(shelf(desk.home, name="all"), None)
    bench = desk.begin(OPERATION, "collection:all")
    (unit,) = OPERATION.plan(bench).units
    manifest = OPERATION.run(bench, unit).model_dump(mode="json")
    outcome = OPERATION.join(bench, {unit.name: Finished(bench.scratch, manifest, {})})
    page, *plots = outcome.made
    assert page.name == "report.html"
    assert [plot.name for plot in plots] == [f"{chart.name}.png" for chart in charts_of(report)]
    assert {"kinds.png", "formats.png", "quality-image.png"} <= {plot.name for plot in plots}
    for plot in plots:
        with Image.open(plot.path) as picture:
            assert (picture.format, picture.width) == ("PNG", 1440)


def test_names_in_the_page_are_text(tmp_path):
    name = "<script>alert(1)</script>.jpg"
    rows = [row(name, size_bytes=90_000_000), *(row(f"{n}.jpg", size_bytes=1000) for n in range(6))]
    collection = shelf(tmp_path, rows)
    tell(collection, ANALYSIS, {name: PICTURE, **{f"{n}.jpg": PICTURE for n in range(6)}})
    tell(collection, PROBE, {}, failed=[name])
    page = page_of(report_on(collection, None))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 2
