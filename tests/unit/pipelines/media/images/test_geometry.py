import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.media.images.geometry import place

SIDE = st.integers(1, 20_000)


@pytest.mark.parametrize(
    ("image", "box", "fit", "scaled", "size"),
    [
        ((3000, 2000), (720, None), "inside", (720, 480), (720, 480)),
        ((3000, 2000), (300, 300), "inside", (300, 200), (300, 200)),
        ((2000, 3000), (300, 300), "inside", (200, 300), (200, 300)),
        ((3000, 2000), (400, 400), "cover", (600, 400), (400, 400)),
        ((2000, 3000), (1200, 300), "cover", (1200, 1800), (1200, 300)),
        ((3000, 2000), (400, 400), "fill", (400, 400), (400, 400)),
        ((200, 100), (400, 400), "inside", (200, 100), (200, 100)),
        ((200, 100), (400, 400), "cover", (200, 100), (100, 100)),
        ((200, 100), (400, 400), "fill", (200, 100), (200, 100)),
        ((200, 100), (1200, 300), "cover", (200, 100), (200, 50)),
        ((10_000, 1), (100, None), "inside", (100, 1), (100, 1)),
    ],
)
def test_an_image_is_placed(image, box, fit, scaled, size):
    placement = place(*image, box, fit)
    assert (placement.scaled, placement.size) == (scaled, size)


def test_it_is_enlarged_only_when_asked():
    assert place(200, 100, (400, 400), "cover", enlarge=True).size == (400, 400)
    assert place(200, 100, (400, None), "inside", enlarge=True).size == (400, 200)


@given(SIDE, SIDE, SIDE, SIDE, st.sampled_from(["inside", "cover", "fill"]))
def test_no_rendition_is_larger_than_image_or_box(width, height, wide, high, fit):
    placement = place(width, height, (wide, high), fit)
    assert 1 <= placement.size[0] <= min(width, wide)
    assert 1 <= placement.size[1] <= min(height, high)
    assert placement.size[0] <= placement.scaled[0]
    assert placement.size[1] <= placement.scaled[1]


@given(SIDE, SIDE, SIDE, SIDE, st.floats(0, 1), st.floats(0, 1))
def test_a_window_lies_in_the_image(width, height, wide, high, x, y):
    placement = place(width, height, (wide, high), "cover")
    for at, kept, scaled in zip(placement.window(x, y), placement.size, placement.scaled, strict=True):
        assert 0 <= at <= scaled - kept
