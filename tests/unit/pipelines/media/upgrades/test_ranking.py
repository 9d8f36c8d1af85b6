from pipelines.media.upgrades.ranking import rank_key, totals_of
from pipelines.media.upgrades.upgrades_spec import Advice, Gain


def saves(bytes_saved: int, confidence: float = 1.0, size_bytes: int = 100) -> Advice:
    gain = Gain(
        bytes_saved=bytes_saved, least_bytes=bytes_saved - 10, most_bytes=bytes_saved + 10, confidence=confidence
    )
    return Advice(action="re-encode", reasons=(), size_bytes=size_bytes, gain=gain)


BROKEN = Advice(action="replace", reasons=(), size_bytes=1, broken=True)
REPLACE = Advice(action="replace", reasons=(), size_bytes=1, gain=Gain(points=60.0))
REMUX = Advice(action="remux", reasons=(), size_bytes=1, gain=Gain(points=0.0))
KEEP = Advice(action="keep", reasons=(), size_bytes=1000)


def test_broken_films_come_first_and_then_what_is_worth_most() -> None:
    library = [KEEP, REMUX, REPLACE, saves(10), saves(50), BROKEN]
    assert sorted(library, key=rank_key) == [BROKEN, saves(50), saves(10), REPLACE, REMUX, KEEP]


def test_an_unsure_saving_counts_for_less() -> None:
    assert rank_key(saves(40, confidence=0.9)) < rank_key(saves(50, confidence=0.6))


def test_totals_add_up_what_encoding_again_saves() -> None:
    totals = totals_of([KEEP, BROKEN, saves(50), saves(20)])
    assert totals.actions == {"re-encode": 2, "replace": 1, "remux": 0, "keep": 1}
    assert (totals.broken, totals.size_bytes) == (1, 1201)
    assert (totals.bytes_saved, totals.least_bytes, totals.most_bytes) == (70, 50, 90)
