"""Advice on films of known make."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import media_factory as factory
import pytest
from unit.pipelines.media.upgrades.films import settings_of, textured_film

from pipelines.media.errors import SourceNotFoundError
from pipelines.media.profiles import Profile
from pipelines.media.quality.quality_spec import Recommendation
from pipelines.media.upgrades.advice import advice_of, advise
from pipelines.media.upgrades.film import see
from pipelines.media.upgrades.upgrades_spec import Advice, UpgradeSpec

Judge = Callable[..., Advice]


@pytest.fixture
def judge(profiles: dict[str, Profile]) -> Judge:
    def judge(film: Path, **spec: object) -> Advice:
        asked = UpgradeSpec.model_validate(spec)
        return advise(film, asked, settings_of(profiles, asked.codec), lambda _: None)

    return judge


def test_a_film_that_spends_bits_nobody_sees_is_encoded_again(tmp_path: Path, judge: Judge) -> None:
    film = textured_film(tmp_path / "film.mkv", qp="10")
    advice = judge(film)
    assert advice.action == "re-encode"
    assert advice.gain is not None
    assert 0.5 * film.stat().st_size < (advice.gain.bytes_saved or 0) < film.stat().st_size
    assert -5 <= (advice.gain.points or 0) < 0
    assert advice.recipe is not None
    assert (advice.recipe.params["profile"], advice.recipe.params["codec"]) == ("archive-hevc", "av1")
    assert "far more bits" in " ".join(advice.reasons)


def test_the_codec_asked_for_is_the_recipe_s(tmp_path: Path, judge: Judge) -> None:
    advice = judge(textured_film(tmp_path / "film.mkv", qp="10"), codec="hevc")
    assert advice.recipe is not None
    assert advice.recipe.params["codec"] == "hevc"


def test_an_old_codec_is_encoded_again(tmp_path: Path, judge: Judge) -> None:
    film = textured_film(tmp_path / "film.mpg", codec="mpeg2video", qmin="2", qmax="2")
    advice = judge(film)
    assert (advice.action, advice.picture and advice.picture.codec) == ("re-encode", "mpeg2video")


def test_pictures_that_are_all_keyframes_are_told(tmp_path: Path, judge: Judge) -> None:
    advice = judge(textured_film(tmp_path / "film.mkv", gop=1, qp="12"))
    assert advice.picture is not None
    assert advice.picture.group_frames == 1
    assert "All its pictures are keyframes." in advice.reasons


def test_a_film_at_a_fair_rate_is_kept_and_the_saving_is_told(tmp_path: Path, judge: Judge) -> None:
    advice = judge(textured_film(tmp_path / "film.mkv", qp="20"), least_saving=0.95)
    assert (advice.action, advice.recipe) == ("keep", None)
    assert "fair" in advice.reasons[0]


def test_a_film_that_lost_much_is_not_encoded_again(tmp_path: Path, judge: Judge) -> None:
    advice = judge(textured_film(tmp_path / "film.mkv", qp="32"), least_score=1, least_saving=0)
    assert advice.score is not None
    assert advice.score < 60
    assert (advice.action, advice.gain) == ("keep", None)


def test_a_film_that_is_coarsely_compressed_is_kept_at_any_score(
    tmp_path: Path, judge: Judge, profiles: dict[str, Profile]
) -> None:
    film = textured_film(tmp_path / "film.mkv", qp="10")
    assert judge(film).action == "re-encode"
    seen = see(film, lambda _: None)
    assert seen.quality is not None
    coarse = seen.quality.model_copy(update={"recommendations": (Recommendation(code="coarse", message="Coarse."),)})
    advice = advice_of(replace(seen, quality=coarse), UpgradeSpec(), settings_of(profiles))
    assert (advice.action, advice.recipe) == ("keep", None)
    assert "lose more" in advice.reasons[0]


def test_a_low_score_asks_for_a_better_copy_and_says_why(tmp_path: Path, judge: Judge) -> None:
    advice = judge(textured_film(tmp_path / "film.mkv", qp="46"))
    assert (advice.action, advice.broken) == ("replace", False)
    assert "coarsely compressed" in advice.reasons[1]
    assert advice.gain is not None
    assert advice.gain.bytes_saved is None
    assert advice.gain.points == pytest.approx(90.7 - (advice.score or 0), abs=0.1)


def test_a_small_picture_is_told_as_such(tmp_path: Path, judge: Judge) -> None:
    advice = judge(factory.film(tmp_path / "film.mkv"), least_score=99)
    assert advice.action == "replace"
    assert "no more than" in advice.reasons[1]


def test_an_index_at_the_end_is_brought_to_the_front_if_all_can_be_copied(tmp_path: Path, judge: Judge) -> None:
    advice = judge(textured_film(tmp_path / "film.mp4", qp="20"), least_saving=0.95)
    assert advice.action == "remux"
    assert advice.recipe is not None
    assert advice.recipe.params == {"profile": "web-1080p", "audio_codec": "copy"}


def test_an_odd_container_is_left_if_all_can_be_copied(tmp_path: Path, judge: Judge) -> None:
    advice = judge(textured_film(tmp_path / "film.ts", qp="20"), least_saving=0.95)
    assert advice.action == "remux"
    assert "MPEG-TS" in advice.reasons[0]


def test_what_no_profile_copies_stays_where_it_is(tmp_path: Path, judge: Judge) -> None:
    advice = judge(textured_film(tmp_path / "film.ts", codec="libx265", crf="12"), least_saving=0.99)
    assert (advice.action, advice.recipe) == ("keep", None)


@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_a_film_that_was_cut_off_is_broken(keep: float, tmp_path: Path, judge: Judge) -> None:
    film = textured_film(tmp_path / "film.mp4", qp="20")
    film.write_bytes(film.read_bytes()[: int(film.stat().st_size * keep)])
    advice = judge(film)
    assert (advice.action, advice.broken, advice.score) == ("replace", True, None)
    assert advice.reasons


def test_what_is_no_film_is_broken(tmp_path: Path, judge: Judge) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"no film" * 100)
    advice = judge(film)
    assert (advice.action, advice.broken, advice.size_bytes) == ("replace", True, 700)


def test_sound_alone_is_kept(tmp_path: Path, judge: Judge) -> None:
    sound = factory.write_sound(tmp_path / "sound.wav", [(0, factory.clicks(1, (0.5,)))])
    assert judge(sound).reasons == ("It has no moving picture to judge.",)


def test_one_picture_alone_is_judged(tmp_path: Path, judge: Judge) -> None:
    advice = judge(textured_film(tmp_path / "film.mkv", frames=1, qp="20"))
    assert not advice.broken
    assert advice.score is not None


def test_transparency_is_not_encoded_away(tmp_path: Path, judge: Judge) -> None:
    film = Path(__file__).parents[6] / "shared/media/video/vp9_alpha_vorbis.webm"
    if not film.is_file():
        pytest.skip("the shared media aren't there")
    advice = judge(film, least_score=0)
    assert advice.action == "keep"


def test_a_missing_file_is_an_error(tmp_path: Path, judge: Judge) -> None:
    with pytest.raises(SourceNotFoundError):
        judge(tmp_path / "absent.mkv")


def test_a_source_is_never_touched(tmp_path: Path, judge: Judge) -> None:
    film = textured_film(tmp_path / "film.mkv", qp="10")
    before = (film.read_bytes(), film.stat().st_mtime_ns)
    judge(film)
    assert (film.read_bytes(), film.stat().st_mtime_ns) == before
    assert list(tmp_path.iterdir()) == [film]
