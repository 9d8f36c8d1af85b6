"""What comparing two films comes to, against one run of the ffmpeg program, and of films that are hard to compare."""

import csv
import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import media_factory as factory
import numpy as np
import psutil
import pytest
from PIL import Image
from unit.pipelines.media.comparison.conftest import (
    COARSE,
    Compare,
    scenes,
    told_by_program,
    vmaf_by_program,
)

from pipelines.media.comparison.compare_spec import Canvas, CompareSpec
from pipelines.media.comparison.planning import plan_comparison
from pipelines.media.comparison.table import Table
from pipelines.media.comparison.vmaf import VmafProgram
from pipelines.media.errors import EncodeError, NoVideoStreamError, SourceTruncatedError, SourceUnreadableError

CANVAS = Canvas(width=96, height=64, pixel_format="yuv420p", depth=8, full_range=False, matrix=None)


def columns(table: Table) -> np.ndarray:
    return np.column_stack(list(vars(table).values()))


# Scores


def test_vmaf_of_each_frame_is_that_of_one_run_of_the_program(
    compare: Compare, distorted: Path, reference: Path, tmp_path: Path
) -> None:
    theirs = vmaf_by_program(distorted, reference, tmp_path)
    assert compare(distorted, reference).table.vmaf == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize(("rate", "suffix"), [(25, "mp4"), (50, "mkv"), (25, "ts")])
def test_pieces_make_no_difference_to_any_score(compare: Compare, tmp_path: Path, rate: int, suffix: str) -> None:
    films = [
        factory.write_video(tmp_path / f"{name}.{suffix}", scenes(120), time_base=1 / Fraction(rate), rate=rate, **how)
        for name, how in {"distorted": {"options": COARSE, "gop": 50}, "reference": {"gop": 24}}.items()
    ]
    whole, pieces = compare(*films), compare(*films, piece_s=24 / rate)
    assert (len(whole.plan.pieces), len(pieces.plan.pieces)) == (1, 5)
    assert np.array_equal(columns(whole.table), columns(pieces.table), equal_nan=True)


def test_psnr_is_pooled_as_the_program_does(compare: Compare, distorted: Path, reference: Path) -> None:
    found = re.search(
        r"PSNR y:([\d.]+) u:([\d.]+) v:([\d.]+) average:([\d.]+) min:([\d.]+)",
        told_by_program(distorted, reference, "psnr"),
    )
    assert found is not None
    ours = compare(distorted, reference).result.psnr
    assert ours is not None
    assert [ours.y_db, ours.u_db, ours.v_db, ours.average_db, ours.min_db] == pytest.approx(
        [float(each) for each in found.groups()], abs=1e-4
    )


def test_ssim_is_pooled_as_the_program_does(compare: Compare, distorted: Path, reference: Path) -> None:
    found = re.search(
        r"SSIM Y:([\d.]+).* U:([\d.]+).* V:([\d.]+).* All:([\d.]+)", told_by_program(distorted, reference, "ssim")
    )
    assert found is not None
    ours = compare(distorted, reference).result.ssim
    assert ours is not None
    assert [ours.y, ours.u, ours.v, ours.all] == pytest.approx([float(each) for each in found.groups()], abs=2e-6)


def test_xpsnr_is_pooled_as_the_program_does(compare: Compare, distorted: Path, reference: Path) -> None:
    told = told_by_program(distorted, reference, "[1:v][0:v]xpsnr")  # its first input is the original
    found = re.search(r"XPSNR  y: ([\d.]+)  u: ([\d.]+)  v: ([\d.]+)", told)
    assert found is not None
    ours = compare(distorted, reference).result.xpsnr
    assert ours is not None
    assert [ours.y_db, ours.u_db, ours.v_db] == pytest.approx([float(each) for each in found.groups()], abs=1e-4)


def test_the_pooled_vmaf_is_that_of_its_frames(compare: Compare, distorted: Path, reference: Path) -> None:
    compared = compare(distorted, reference)
    scores, pooled = compared.table.vmaf, compared.result.vmaf
    assert pooled is not None
    assert [pooled.mean, pooled.min, pooled.max] == pytest.approx([scores.mean(), scores.min(), scores.max()], abs=1e-4)
    assert pooled.harmonic_mean == pytest.approx(1 / np.mean(1 / (scores + 1)) - 1, abs=1e-4)
    assert pooled.min <= pooled.p1 <= pooled.p5 <= pooled.mean


def test_leaving_out_what_no_score_needs_changes_none() -> None:
    random = np.random.default_rng(5)
    pictures = random.integers(0, 255, (4, 64, 96)).astype(np.uint8)

    def scores(lean: bool) -> list[float]:
        with VmafProgram(CANVAS, "vmaf_v0.6.1", lean=lean) as program:
            for one, other in zip(pictures, pictures[::-1], strict=True):
                program.feed(one, other)
            return program.finish()

    assert scores(lean=True) == scores(lean=False)


def test_odd_sizes_come_to_what_the_program_says(compare: Compare, shared_video: Path, tmp_path: Path) -> None:
    clip = shared_video / "vp9_odd_161x121.webm"
    theirs = vmaf_by_program(clip, clip, tmp_path)
    assert compare(clip, clip).table.vmaf == pytest.approx(theirs, abs=1e-6)


def test_a_real_pair_comes_to_what_the_program_says(compare: Compare, shared_video: Path, tmp_path: Path) -> None:
    films = shared_video / "quality_distorted_carphone.mp4", shared_video / "quality_reference_carphone.mp4"
    assert compare(*films, piece_s=1.2).table.vmaf == pytest.approx(vmaf_by_program(*films, tmp_path), abs=1e-6)


@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv444p", "yuv422p10le"])
def test_every_form_comes_to_what_the_program_says(compare: Compare, tmp_path: Path, pixel_format: str) -> None:
    films = [
        factory.write_video(tmp_path / f"{name}.mkv", scenes(40), pixel_format=pixel_format, options=options)
        for name, options in {"distorted": COARSE, "reference": {"crf": "4"}}.items()
    ]
    assert compare(*films).table.vmaf == pytest.approx(vmaf_by_program(*films, tmp_path), abs=1e-6)


def test_only_what_is_asked_for_is_measured(compare: Compare, distorted: Path, reference: Path) -> None:
    whole, part = compare(distorted, reference), compare(distorted, reference, metrics=["psnr"])
    assert (part.result.vmaf, part.result.ssim, part.result.xpsnr) == (None, None, None)
    assert part.result.psnr == whole.result.psnr


# What is kept of it


def test_every_frame_is_listed(compare: Compare, distorted: Path, reference: Path) -> None:
    compared = compare(distorted, reference)
    with (compared.folder / "frames.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [float(row["reference_s"]) for row in rows] == pytest.approx([number / 25 for number in range(120)])
    assert [float(row["vmaf"]) for row in rows] == pytest.approx(compared.table.vmaf, abs=1e-6)


def test_the_curve_has_the_whole_film_in_few_points(compare: Compare, distorted: Path, reference: Path) -> None:
    compared = compare(distorted, reference)
    curve = compared.result.curve
    assert len(curve) == 120
    assert curve[-1].vmaf == pytest.approx(compared.table.vmaf[-1], abs=0.01)


def test_the_worst_moments_are_those_that_were_spoilt(compare: Compare, reference: Path, tmp_path: Path) -> None:
    pictures = scenes(120)
    for number in (15, 100):
        pictures[number][: factory.HEIGHT : 2] = 40
    spoilt = factory.write_video(tmp_path / "spoilt.mkv", pictures)
    worst = compare(spoilt, reference, moments=2).result.worst
    assert sorted(moment.time_s for moment in worst) == [0.6, 4.0]


def test_worst_moments_lie_seconds_apart(compare: Compare, distorted: Path, reference: Path) -> None:
    times = sorted(moment.time_s for moment in compare(distorted, reference, moments=50).result.worst)
    assert 2 <= len(times) <= 3
    assert all(after - before >= 3 for before, after in pairwise(times))


def test_stills_show_both_films_as_they_are_shown(compare: Compare, reference: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.mp4"
    factory.write_video(small, [picture[:, ::2] for picture in scenes(120)], options=COARSE, aspect=Fraction(2))
    compared = compare(small, reference, moments=1, format="png")
    (moment,) = compared.result.worst
    assert moment.reference is not None
    assert moment.distorted is not None
    shown = [
        np.asarray(Image.open(compared.folder / name).convert("L"), int)
        for name in (moment.reference, moment.distorted)
    ]
    assert [picture.shape for picture in shown] == [(64, 96)] * 2
    assert np.corrcoef(shown[0].ravel(), shown[1].ravel())[0, 1] > 0.8


def test_without_moments_there_are_no_stills(compare: Compare, distorted: Path, reference: Path) -> None:
    compared = compare(distorted, reference, moments=0)
    assert compared.result.worst == ()
    assert not list(compared.folder.glob("worst*"))


# Films that differ in form


def test_scaling_is_the_programs_bicubic(compare: Compare, shared_video: Path, tmp_path: Path) -> None:
    reference = shared_video / "h264_10bit_200x200.mp4"
    small = tmp_path / "small.mp4"
    with av.open(str(reference)) as source, av.open(str(small), "w") as output:
        stream = output.add_stream("libx264", rate=30, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 100, 100, "yuv420p"
        for frame in source.decode(video=0):
            output.mux(stream.encode(frame.reformat(100, 100, "yuv420p", interpolation="BICUBIC")))
        output.mux(stream.encode(None))
    ours = compare(small, reference).result.vmaf
    told = told_by_program(small, reference, "[0:v]scale=200:200:flags=bicubic,format=yuv420p10le[d];[d][1:v]libvmaf")
    found = re.search(r"VMAF score: ([\d.]+)", told)
    assert found is not None
    assert ours is not None
    assert ours.mean == pytest.approx(float(found[1]), abs=0.01)


def test_a_turned_film_is_compared_as_it_is_shown(compare: Compare, reference: Path, tmp_path: Path) -> None:
    turned = [np.vstack([_turned(picture[:64]), np.full((48, 64), 128, np.uint8)]) for picture in scenes(120)]
    film = factory.write_video(tmp_path / "turned.mp4", turned, rotation=(90, False))
    compared = compare(film, reference)
    assert compared.result.verdict == "same"
    assert compared.table.mse_y.max() == 0


def _turned(luma: np.ndarray) -> np.ndarray:
    """Clockwise by a quarter."""
    return np.ascontiguousarray(np.rot90(luma, -1))


def test_full_range_is_brought_to_the_references_range(compare: Compare, reference: Path, tmp_path: Path) -> None:
    film = tmp_path / "full.mkv"
    with av.open(str(reference)) as source, av.open(str(film), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.color_range = 2
        for frame in source.decode(video=0):
            full = frame.reformat(format="yuv420p", src_color_range="MPEG", dst_color_range="JPEG")
            full.color_range = 2
            output.mux(stream.encode(full))
        output.mux(stream.encode(None))
    compared = compare(film, reference)
    assert not compared.plan.canvas.full_range
    assert compared.table.mse_y.max() < 1


def test_of_two_depths_the_deeper_is_measured(compare: Compare, reference: Path, tmp_path: Path) -> None:
    deep = factory.write_video(tmp_path / "deep.mkv", scenes(120), pixel_format="yuv420p10le", options={"qp": "0"})
    compared = compare(deep, reference)
    assert (compared.result.pixel_format, compared.table.mse_y.max()) == ("yuv420p10le", 0)


def test_hdr_against_sdr_is_told(shared_video: Path) -> None:
    hdr, sdr = shared_video / "av1_10bit_hdr10_1080p60.mp4", shared_video / "h264_pcm_1080p50.mov"
    plan = plan_comparison(sdr, hdr, CompareSpec(), 1)
    assert any("HDR" in warning for warning in plan.warnings)


def test_another_shape_is_told(reference: Path, tmp_path: Path) -> None:
    wide = factory.write_video(tmp_path / "wide.mkv", scenes(120), aspect=Fraction(4, 3))
    assert any("shape" in warning for warning in plan_comparison(wide, reference, CompareSpec(), 1).warnings)


# Films that differ in time


def test_frames_without_a_partner_are_counted(compare: Compare, reference: Path, tmp_path: Path) -> None:
    longer = factory.write_video(tmp_path / "longer.mkv", [factory.grey(16)] * 5 + scenes(110))
    frames = compare(longer, reference).result.frames
    assert frames is not None
    assert (frames.reference, frames.distorted, frames.compared) == (120, 115, 110)
    assert (frames.reference_alone, frames.distorted_alone, frames.identical) == (10, 5, 110)


def test_dropped_frames_cost_no_quality(compare: Compare, reference: Path, tmp_path: Path) -> None:
    left = [number for number in range(120) if number % 7 != 3]
    pictures = scenes(120)
    film = factory.write_video(tmp_path / "vfr.mkv", [pictures[number] for number in left], left)
    frames = compare(film, reference, piece_s=1.5).result.frames
    assert frames is not None
    assert (frames.compared, frames.identical, frames.reference_alone) == (len(left), len(left), 120 - len(left))


def test_a_frame_that_was_lost_with_its_time_is_told(compare: Compare, reference: Path, tmp_path: Path) -> None:
    lost = factory.write_video(tmp_path / "lost.mkv", scenes(90) + scenes(29, first=91))
    warnings = compare(lost, reference).result.warnings
    assert any("a frame or more beside its reference from 3.6 to" in warning for warning in warnings)


def test_other_films_are_told_and_not_measured(compare: Compare, distorted: Path, tmp_path: Path) -> None:
    other = factory.write_video(tmp_path / "other.mkv", factory.moving_pictures(100))
    compared = compare(distorted, other)
    assert (compared.result.verdict, compared.result.vmaf, compared.plan.pieces) == ("different", None, ())
    assert "don't show the same film" in compared.result.message
    assert compared.result.frames is not None
    assert compared.result.frames.compared == 0


# Films that are hard to compare


def test_a_film_against_itself_has_no_error_and_not_100(compare: Compare, reference: Path) -> None:
    result = compare(reference, reference).result
    assert result.psnr is not None
    assert result.vmaf is not None
    assert (result.psnr.average_db, result.xpsnr and result.xpsnr.y_db) == (None, None)
    assert 97 < result.vmaf.mean < 100
    assert f"{result.vmaf.mean:.2f}" in result.message


def test_one_frame_is_compared(compare: Compare, tmp_path: Path) -> None:
    one = factory.write_video(tmp_path / "one.mkv", scenes(1))
    result = compare(one, one).result
    assert result.frames is not None
    assert result.frames.compared == 1
    assert result.vmaf is not None


def test_tiny_pictures_have_the_scores_that_take_them(compare: Compare, tmp_path: Path) -> None:
    tiny = factory.write_video(tmp_path / "tiny.mkv", [picture[:36, :24].copy() for picture in scenes(10)])
    result = compare(tiny, tiny).result
    assert (result.vmaf, result.ssim and result.ssim.all) == (None, 1.0)
    assert any("too small for VMAF" in warning for warning in result.warnings)


def test_a_picture_of_one_pixel_has_no_more_than_its_error(compare: Compare, shared_video: Path) -> None:
    result = compare(*[shared_video / "-leading-dash-1x1_pixel.mp4"] * 2).result
    assert (result.vmaf, result.ssim) == (None, None)
    assert result.frames is not None
    assert result.frames.identical == 5


def test_sound_alone_is_refused(reference: Path, tmp_path: Path) -> None:
    sound = factory.write_sound(tmp_path / "sound.wav", [(0, factory.tone(1, -20))])
    with pytest.raises(NoVideoStreamError, match=r"sound\.wav has no pictures"):
        plan_comparison(sound, reference, CompareSpec(), 1)


def test_a_cover_is_no_film(reference: Path) -> None:
    cover = Path(__file__).resolve().parents[6] / "shared" / "media" / "audio" / "flac_with_cover.flac"
    if not cover.is_file():
        pytest.skip(f"the shared clips aren't at {cover.parent}")
    with pytest.raises(NoVideoStreamError, match="only a cover"):
        plan_comparison(reference, cover, CompareSpec(), 1)


def test_a_film_cut_off_is_compared_as_far_as_it_goes(
    compare: Compare, reference: Path, distorted: Path, tmp_path: Path
) -> None:
    film = factory.stream_of(distorted, tmp_path / "film.ts")
    film.write_bytes(film.read_bytes()[: film.stat().st_size * 2 // 3])
    result = compare(film, reference).result
    assert result.frames is not None
    assert 20 < result.frames.compared < 110
    assert result.frames.reference_alone == 120 - result.frames.compared


def test_a_film_without_its_index_is_refused(reference: Path, distorted: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(distorted.read_bytes()[: distorted.stat().st_size // 2])
    with pytest.raises(SourceTruncatedError, match=r"cut\.mp4"):
        plan_comparison(cut, reference, CompareSpec(), 1)


def test_damaged_frames_are_left_out_and_told(
    compare: Compare, reference: Path, distorted: Path, tmp_path: Path
) -> None:
    damaged = factory.with_noise(distorted, tmp_path / "damaged.mkv", range(60, 64))
    result = compare(damaged, reference).result
    assert result.frames is not None
    assert result.frames.compared < 120
    assert any("doesn't decode" in warning for warning in result.warnings)


def test_a_film_of_which_nothing_decodes_is_named(reference: Path, distorted: Path, tmp_path: Path) -> None:
    damaged = factory.with_noise(distorted, tmp_path / "damaged.mkv", range(120))
    with pytest.raises(SourceUnreadableError, match=r"damaged\.mkv"):
        plan_comparison(damaged, reference, CompareSpec(), 1)


def test_a_raw_stream_without_times_is_compared_in_one_pass(compare: Compare, reference: Path, tmp_path: Path) -> None:
    raw = factory.write_video(tmp_path / "raw.h264", scenes(120), options={"qp": "0", "bf": "0"})
    compared = compare(raw, reference, piece_s=1)
    assert [piece.pairs for piece in compared.plan.pieces] == [None]
    assert compared.result.frames is not None
    assert (compared.result.frames.distorted, compared.result.frames.identical) == (120, 120)


def test_times_that_jump_back_are_compared_in_one_pass(
    compare: Compare, distorted: Path, reference: Path, tmp_path: Path
) -> None:
    twice = [factory.stream_of(film, tmp_path / f"{film.stem}.ts") for film in (distorted, reference)]
    for film in twice:
        film.write_bytes(film.read_bytes() * 2)
    frames = compare(*twice).result.frames
    assert frames is not None
    assert (frames.reference, frames.distorted) == (240, 240)
    assert frames.compared >= 120


def test_times_that_jump_ahead_leave_frames_alone_and_are_told(
    compare: Compare, reference: Path, tmp_path: Path
) -> None:
    jumps = [*range(60), *range(1060, 1120)]
    result = compare(factory.write_video(tmp_path / "jumps.mkv", scenes(120), jumps), reference).result
    assert result.frames is not None
    assert (result.frames.compared, result.frames.distorted_alone) == (60, 60)
    assert any("times may jump" in warning for warning in result.warnings)


def test_a_program_that_fails_is_told() -> None:
    tiny = CANVAS.model_copy(update={"width": 8, "height": 8})  # libvmaf crashes
    picture = np.zeros((8, 8), np.uint8)
    with VmafProgram(tiny, "vmaf_v0.6.1") as program:
        program.feed(picture, picture)
        with pytest.raises(EncodeError, match="ffmpeg program"):
            program.finish()


def test_a_program_that_is_not_needed_any_more_is_ended() -> None:
    before = psutil.Process().children()
    with pytest.raises(KeyboardInterrupt), VmafProgram(CANVAS, "vmaf_v0.6.1"):
        raise KeyboardInterrupt
    assert psutil.Process().children() == before
