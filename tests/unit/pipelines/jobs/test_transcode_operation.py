"""The pieces of a transcode, with the real child: what they are known by, and what is made of them."""

from dataclasses import replace
from pathlib import Path

import media_factory as factory
import pytest
from unit.edits import edit_unseen
from unit.pipelines.jobs.operating import bench, planned

from cluster import files, identity
from cluster.child import MediaChild
from pipelines.jobs.catalogue import Outcome
from pipelines.jobs.operations.transcode import OPERATION
from pipelines.jobs.workbench import Finished

LOSSLESS = {"profile": "web-720p", "codec": "h264", "crf": 0, "preset": "ultrafast"}


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 frames with a keyframe every 10th, which nobody writes any more."""
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)
    return factory.film(tmp_path / "film.mkv")


def test_a_piece_that_another_plan_numbers_differently_is_taken_over(film: Path, child: MediaChild) -> None:
    four, three = (planned(OPERATION, film, child, **LOSSLESS, chunk_s=chunk_s) for chunk_s in (0.4, 0.52))
    assert [len(plan.units) for plan in (four, three)] == [4, 3]
    names = {unit.key: unit.name for unit in four.units}
    taken_over = {unit.name: names[unit.key] for unit in three.units if unit.key in names}
    assert taken_over == {"chunk-0000": "chunk-0000", "chunk-0002": "chunk-0003"}

    made: dict[str | None, Finished] = {}
    for unit in (*four.units, *three.units):
        if unit.key not in made:
            at = bench(OPERATION, film, child, four.shared, **LOSSLESS)
            made[unit.key] = Finished(at.scratch, OPERATION.run(at, unit).model_dump(mode="json"), unit.payload)
    of_three = {unit.name: replace(made[unit.key], payload=unit.payload) for unit in three.units}
    outcome = OPERATION.join(bench(OPERATION, film, child, three.shared, **LOSSLESS), of_three)
    assert isinstance(outcome, Outcome)
    assert factory.shown_pictures(outcome.made[0].path) == factory.shown_pictures(film)


def test_a_piece_of_a_film_after_an_edit_that_hides_is_another(film: Path, child: MediaChild) -> None:
    with film.open("ab") as file:
        file.write(bytes(2 << 20))
    before = planned(OPERATION, film, child, **LOSSLESS, chunk_s=0.4)
    edit_unseen(film)
    after = planned(OPERATION, film, child, **LOSSLESS, chunk_s=0.4)
    keys = [{unit.key for unit in plan.units} for plan in (before, after)]
    assert [len(each) for each in keys] == [4, 4]
    assert not keys[0] & keys[1]


def test_a_piece_of_another_film_that_was_given_the_same_inode_number_is_another(
    film: Path, child: MediaChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As file systems without inode numbers of their own draw them at each mount."""
    monkeypatch.setattr(files, "stamp_of", lambda _: identity.Identity("1:2:3:4", settled=True))
    before = planned(OPERATION, film, child, **LOSSLESS, chunk_s=0.4)
    content = bytearray(film.read_bytes())
    content[len(content) // 2] ^= 0xFF
    film.write_bytes(content)
    after = planned(OPERATION, film, child, **LOSSLESS, chunk_s=0.4)
    assert not {unit.key for unit in before.units} & {unit.key for unit in after.units}


def test_a_piece_that_another_build_made_is_another(
    film: Path, child: MediaChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = planned(OPERATION, film, child, **LOSSLESS, chunk_s=0.4)
    monkeypatch.setattr("pipelines.jobs.operations.transcode.build_id", lambda _: "another")
    after = planned(OPERATION, film, child, **LOSSLESS, chunk_s=0.4)
    assert not {unit.key for unit in before.units} & {unit.key for unit in after.units}
