"""Names by a template: of fields that are there, and nowhere but below the folder."""

import pytest
from unit.pipelines.bulk.shelves import row

from pipelines.bulk.name_template import checked_template, columns_of, name_of

PHOTO = row("2019/beach/one.JPG", root="/home/me/photos", width=4000, title="A/B: C?", duration_s=1.5)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{root}/{path}", "photos/2019/beach/one.JPG"),
        ("{kind}/{stem}{suffix}", "image/one.JPG"),
        ("{year}/{month}/{day} {name}", "2026/01/01 one.JPG"),
        ("{folder}/{width} {name}", "2019/beach/4000 one.JPG"),
        ("{title}{suffix}", "A_B_ C_.JPG"),
        ("{video_codec}/{name}", "unknown/one.JPG"),
        ("{duration_s}{suffix}", "1.5.JPG"),
        ("../../{name}", "_/_/one.JPG"),
        ("/etc/{name}", "etc/one.JPG"),
        ("{{{stem}}}", "{one}"),
    ],
)
def test_a_name_is_made_of_fields(template, name):
    assert name_of(checked_template(template), PHOTO) == name


def test_a_value_can_t_lead_to_another_folder():
    assert name_of("{title}/{name}", {**PHOTO, "title": ".."}) == "_/one.JPG"


@pytest.mark.parametrize(
    "template",
    ["{nothing}", "{path.__class__}", "{path[0]}", "{nothing:05d}", "{nothing!r}", "{}", "{0}", "{path", "same.jpg"],
)
def test_what_isn_t_a_field_is_refused(template):
    with pytest.raises(ValueError, match=r"can't be used|no template|no field"):
        checked_template(template)


@pytest.mark.parametrize(("template", "alone"), [("{width:>10}", "{width}"), ("{kind}/{path!r}", "{path}")])
def test_a_field_has_no_format_or_conversion(template, alone):
    with pytest.raises(ValueError, match=f"no formats and conversions: write {alone} alone"):
        checked_template(template)


def test_the_view_is_asked_for_what_a_template_names():
    assert columns_of("{year}/{height}/{kind}/{name}") == ("height", "kind")
