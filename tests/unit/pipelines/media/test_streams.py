from collections.abc import Callable

import pytest

from pipelines.media.errors import (
    LimitError,
    NoAudioStreamError,
    ParamsError,
    SourceUnsupportedError,
    StreamNotFoundError,
    TimeOutOfRangeError,
)
from pipelines.media.info import AnyStream, AudioInfo, Chapter, MediaInfo, OtherInfo, SubtitleInfo, VideoInfo
from pipelines.media.plan import TranscodePlan

Plan = Callable[..., TranscodePlan]


def video(index: int = 0, **changes: object) -> VideoInfo:
    values: dict[str, object] = {
        "index": index, "codec": "h264", "width": 1280, "height": 720, "display_width": 1280, "display_height": 720,
        "pixel_format": "yuv420p", "bit_depth": 8, "frame_rate": "25", "average_frame_rate": "25",
        "field_order": "progressive", "frames": 250,
    }  # fmt: skip
    return VideoInfo.model_validate(values | changes)


def audio(index: int = 1, **changes: object) -> AudioInfo:
    values: dict[str, object] = {"index": index, "codec": "aac", "sample_rate_hz": 48_000, "channels": 2}
    return AudioInfo.model_validate(values | changes)


def media(*streams: AnyStream, **changes: object) -> MediaInfo:
    values: dict[str, object] = {
        "container": "matroska,webm", "container_name": "Matroska", "size_bytes": 1_000_000, "duration_s": 10.0,
        "start_s": 0.0, "bit_rate_bps": 800_000, "streams": [s.model_dump() for s in streams],
    }  # fmt: skip
    return MediaInfo.model_validate(values | changes)


@pytest.mark.parametrize("codec", ["aac", None])
def test_a_loudness_means_an_encode(planned: Plan, codec: str | None) -> None:
    _, plan = planned(media(video(), audio()), loudness=-23, audio_codec=codec).streams
    assert (plan.action, plan.reason, plan.codec) == ("encode", "its loudness is set", "aac")


@pytest.mark.parametrize(("profile", "codec"), [("webm-vp9", "aac"), ("web-720p", "dts"), ("audio-mp3", "flac")])
def test_sound_that_is_to_be_copied_but_doesnt_fit_is_refused(planned: Plan, profile: str, codec: str) -> None:
    with pytest.raises(ParamsError, match=f"can't hold {codec}, the sound of stream 1") as caught:
        planned(media(video(), audio(codec=codec)), profile, audio_codec="copy")
    assert caught.value.fields["field"] == "audio_codec"


def test_a_profile_that_copies_sound_encodes_what_doesnt_fit(planned: Plan) -> None:
    _, plan = planned(media(video(), audio(codec="wmav2")), "archive-hevc").streams
    assert (plan.action, plan.reason) == ("encode", "the container can't hold wmav2")


def test_a_crop_means_an_encode(planned: Plan) -> None:
    (plan,) = planned(media(video()), crop="1280x536+0+92").streams
    assert (plan.action, plan.reason) == ("encode", "it is cropped")
    assert plan.video is not None
    assert (plan.video.width, plan.video.height) == (1280, 536)


@pytest.mark.parametrize("crop", ["1282x720+0+0", "1280x536+0+186", "640x720+642+0"])
def test_a_crop_beyond_the_picture_is_refused(planned: Plan, crop: str) -> None:
    with pytest.raises(ParamsError, match="shown at 1280x720") as caught:
        planned(media(video()), crop=crop)
    assert caught.value.fields["field"] == "crop"


def test_a_crop_of_sound_is_refused(planned: Plan) -> None:
    with pytest.raises(ParamsError, match="leave out crop"):
        planned(media(audio()), "audio-mp3", crop="16x16+0+0")


def test_a_conforming_file_is_copied(planned: Plan) -> None:
    plan = planned(media(video(), audio()))
    assert [s.action for s in plan.streams] == ["copy", "copy"]
    assert plan.warnings == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"codec": "vp8"}, "vp8 becomes h264"),
        ({"pixel_format": "yuv420p10le", "bit_depth": 10}, "pixel format"),
        ({"width": 1920, "height": 1080, "display_width": 1920, "display_height": 1080}, "above 720"),
        ({"frame_rate": "120", "average_frame_rate": "120"}, "frame rate"),
        ({"bit_rate_bps": 9_000_000}, "bit rate"),
        ({"rotation_deg": 90}, "rotation"),
        ({"sample_aspect_ratio": "4:3"}, "square"),
        ({"field_order": "tt"}, "deinterlaced"),
    ],
)
def test_a_misfit_is_encoded_and_the_reason_told(planned: Plan, changes: dict[str, object], reason: str) -> None:
    plan = planned(media(video(**changes)))
    assert plan.streams[0].action == "encode"
    assert reason in plan.streams[0].reason


@pytest.mark.parametrize(
    "params", [{"crf": 18}, {"preset": "slow"}, {"bitrate": "1M"}, {"start": 1}, {"end": 5}, {"deinterlace": "on"}]
)
def test_an_override_encodes_what_would_conform(planned: Plan, params: dict[str, object]) -> None:
    assert planned(media(video()), **params).streams[0].action == "encode"


def test_a_bound_that_holds_encodes_nothing(planned: Plan) -> None:
    assert planned(media(video()), height=720, frame_rate=30).streams[0].action == "copy"


@pytest.mark.parametrize(
    ("shown", "size"),
    [
        ((1920, 1080), (1280, 720)),
        ((1080, 1920), (720, 1280)),
        ((640, 360), (640, 360)),
        ((161, 121), (160, 120)),
        ((1921, 1081), (1280, 720)),
        ((3840, 1600), (1728, 720)),
    ],
)
def test_the_shorter_side_is_bounded_and_nothing_grows(
    planned: Plan, shown: tuple[int, int], size: tuple[int, int]
) -> None:
    stream = video(codec="vp8", width=shown[0], height=shown[1], display_width=shown[0], display_height=shown[1])
    encode = planned(media(stream)).streams[0].video
    assert encode is not None
    assert (encode.width, encode.height) == size


def test_headers_that_give_a_thousand_frames_a_second_cap_nothing(planned: Plan) -> None:
    encode = planned(media(video(codec="vp8", frame_rate="1000", average_frame_rate="1000"))).streams[0].video
    assert encode is not None
    assert (encode.frame_rate, encode.capped) == (30, False)


def test_hdr_is_mapped_for_web_and_kept_for_the_archive(planned: Plan) -> None:
    film = media(
        video(codec="hevc", pixel_format="yuv420p10le", bit_depth=10, hdr="hlg", color_transfer="arib-std-b67",
              color_primaries="bt2020", sample_aspect_ratio="4:3")
    )  # fmt: skip
    web, archive = planned(film).streams[0].video, planned(film, "archive-hevc").streams[0].video
    assert web is not None
    assert archive is not None
    assert (web.tonemap, web.pixel_format, web.color_transfer) == (True, "yuv420p", "bt709")
    assert (archive.tonemap, archive.pixel_format, archive.color_primaries) == (False, "yuv420p10le", "bt2020")


def test_only_the_first_video_is_kept_and_the_others_are_told(planned: Plan) -> None:
    plan = planned(media(video(0), video(1)))
    assert [s.action for s in plan.streams] == ["copy", "drop"]
    assert "Video stream 1" in plan.warnings[0]


def test_a_cover_is_never_the_video(planned: Plan) -> None:
    plan = planned(media(video(0, codec="png", attached_picture=True), video(1)))
    assert [s.source_index for s in plan.kept] == [1, 0]
    assert plan.kept[1].cover


@pytest.mark.parametrize(
    ("profile", "codec", "form", "action", "becomes"),
    [
        ("web-720p", "subrip", "text", "convert", "mov_text"),
        ("web-720p", "mov_text", "text", "copy", "mov_text"),
        ("web-720p", "hdmv_pgs_subtitle", "bitmap", "drop", None),
        ("webm-vp9", "ass", "text", "convert", "webvtt"),
        ("archive-hevc", "ass", "text", "copy", "ass"),
        ("archive-hevc", "hdmv_pgs_subtitle", "bitmap", "copy", "hdmv_pgs_subtitle"),
        ("archive-hevc", "mov_text", "text", "convert", "subrip"),
        ("audio-mp3", "subrip", "text", "drop", None),
    ],
)
def test_subtitles_become_what_the_container_holds(
    planned: Plan, profile: str, codec: str, form: str, action: str, becomes: str | None
) -> None:
    subtitle = SubtitleInfo.model_validate({"index": 2, "codec": codec, "form": form, "language": "eng"})
    plan = planned(media(video(), audio(), subtitle), profile)
    assert (plan.streams[2].action, plan.streams[2].codec) == (action, becomes)
    assert bool([w for w in plan.warnings if "Subtitle stream 2 (eng)" in w]) == (action == "drop")


def test_sound_that_nothing_decodes_is_dropped_by_its_name(planned: Plan) -> None:
    lost = OtherInfo(index=1, codec=None, kind="data", undecodable="audio")
    assert planned(media(video(), lost)).warnings == (
        "Audio stream 1 is dropped: it holds sound that nothing here can decode.",
    )


def test_sound_that_nothing_decodes_fails_where_damage_does(planned: Plan) -> None:
    lost = OtherInfo(index=1, codec=None, kind="data", undecodable="audio")
    with pytest.raises(SourceUnsupportedError, match="Stream 1 holds sound"):
        planned(media(video(), lost), damage="fail")


def test_data_is_dropped_with_a_warning(planned: Plan) -> None:
    plan = planned(media(video(), OtherInfo(index=1, codec=None, kind="data")))
    assert plan.streams[1].action == "drop"
    assert len(plan.warnings) == 1


def test_fonts_stay_in_matroska(planned: Plan) -> None:
    font = OtherInfo(index=1, codec="ttf", kind="attachment", file_name="a.ttf")
    assert planned(media(video(), font), "archive-hevc").streams[1].action == "copy"


def test_surround_becomes_stereo_where_the_profile_says_so(planned: Plan) -> None:
    encode = planned(media(video(), audio(channels=6))).streams[1].audio
    assert encode is not None
    assert (encode.channel_layout, encode.bit_rate_bps) == ("stereo", 128_000)


def test_the_archive_copies_sound_and_makes_odd_pcm_lossless(planned: Plan) -> None:
    plan = planned(media(video(), audio(1, codec="dts", channels=6), audio(2, codec="pcm_s16be")), "archive-hevc")
    assert [(s.action, s.codec) for s in plan.streams[1:]] == [("copy", "dts"), ("encode", "flac")]


def test_bit_rates_stay_within_the_codec(planned: Plan) -> None:
    encode = planned(media(video(), audio(codec="mp3", sample_rate_hz=8000))).streams[1].audio
    assert encode is not None
    assert encode.bit_rate_bps == 96_000


def test_a_sound_profile_drops_the_picture_without_a_warning(planned: Plan) -> None:
    plan = planned(media(video(), audio()), "audio-opus")
    assert [s.action for s in plan.streams] == ["drop", "encode"]
    assert plan.warnings == ()


def test_a_sound_profile_needs_sound(planned: Plan) -> None:
    with pytest.raises(NoAudioStreamError):
        planned(media(video()), "audio-mp3")


def test_a_file_with_data_alone_has_nothing_to_encode(planned: Plan) -> None:
    with pytest.raises(StreamNotFoundError):
        planned(media(OtherInfo(index=0, codec=None, kind="data")))


def test_a_start_behind_the_end_is_refused(planned: Plan) -> None:
    with pytest.raises(TimeOutOfRangeError):
        planned(media(video()), start=11)


def test_pictures_too_small_for_the_codec_are_refused(planned: Plan) -> None:
    with pytest.raises(SourceUnsupportedError):
        planned(media(video(width=8, height=8, display_width=8, display_height=8)), "archive-hevc")


def test_pictures_too_large_for_the_memory_are_refused(planned: Plan) -> None:
    with pytest.raises(LimitError):
        planned(media(video(width=16384, height=16384, display_width=16384, display_height=16384)))


def test_a_plan_travels_as_json(planned: Plan) -> None:
    plan = planned(media(video(codec="vp8"), audio(), chapters=[Chapter(start_s=0, end_s=5)]))
    assert TranscodePlan.model_validate_json(plan.model_dump_json()) == plan
    assert plan.keep_chapters
    assert plan.estimated_frames == 250
    assert plan.estimated_seconds is not None
