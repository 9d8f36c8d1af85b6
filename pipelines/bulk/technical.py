"""Which columns of a collection are what results of operations tell of a file, and where in them they stand."""

from dataclasses import dataclass

# What results hold: a document, by the operations that tell it and its place in their results.
DOCUMENTS = {
    "media": (("probe", "$"), ("inspect", "$.probe")),
    # By itself, since not every ``probe`` listens; of the first sound.
    "sound": (("probe", "$.sound.tracks[0]"), ("inspect", "$.probe.sound.tracks[0]")),
    "quality": (("quality", "$"), ("inspect", "$.quality")),
    "validation": (("validate", "$"), ("inspect", "$.validation")),
    "analysis": (("image-analyze", "$"),),
    "sidecar": (("sidecar", "$.fields"),),
    "checksum": (("checksum", "$"),),
    "picture": (
        *(("image-analyze", "$.source"), ("image-metadata", "$.source"), ("image-thumbnails", "$.source")),
        *(("image-convert", "$.source"), ("image-enhance", "$.source")),
    ),
}
# Parts of the document ``media``: the picture of a film, which is no cover, and its first sound.
PARTS = {
    "video": "list_filter(json_extract(media, '$.streams[*]'), lambda stream: "
    "json_extract_string(stream, '$.kind') = 'video' "
    "AND json_extract_string(stream, '$.attached_picture') IS DISTINCT FROM 'true')[1]",
    "audio": "list_filter(json_extract(media, '$.streams[*]'), lambda stream: "
    "json_extract_string(stream, '$.kind') = 'audio')[1]",
}


@dataclass(frozen=True)
class Technical:
    """A column: its type, and the documents that tell it, the first that does so counts. ``of`` is SQL over a text."""

    name: str
    type: str
    places: tuple[tuple[str, str], ...]
    of: str = "{0}"

    @property
    def sql(self) -> str:
        """Its value, from columns that are called as the documents are."""
        told = [self.of.format(f"json_extract_string({document}, '{path}')") for document, path in self.places]
        return f"TRY_CAST(coalesce({', '.join(told)}) AS {self.type})"


_FRACTION = "(TRY_CAST(split_part({0}, '/', 1) AS DOUBLE) / coalesce(TRY_CAST(split_part({0}, '/', 2) AS DOUBLE), 1))"
_YES_NO = "CASE {0} WHEN 'true' THEN 'hdr' WHEN 'false' THEN 'sdr' ELSE {0} END"
_TEXT, _WHOLE, _REAL = "VARCHAR", "BIGINT", "DOUBLE"
TECHNICAL = (
    Technical("format", _TEXT, (("media", "$.container"), ("picture", "$.format"))),
    Technical("duration_s", _REAL, (("media", "$.duration_s"),)),
    Technical("frames", _WHOLE, (("picture", "$.frames"),)),
    Technical("bit_rate_bps", _WHOLE, (("media", "$.bit_rate_bps"),)),
    Technical("width", _WHOLE, (("video", "$.display_width"), ("picture", "$.width"))),
    Technical("height", _WHOLE, (("video", "$.display_height"), ("picture", "$.height"))),
    Technical("video_codec", _TEXT, (("video", "$.codec"),)),
    Technical("frame_rate", _REAL, (("video", "$.frame_rate"),), _FRACTION),
    Technical("pixel_format", _TEXT, (("video", "$.pixel_format"),)),
    Technical("bits", _WHOLE, (("video", "$.bit_depth"), ("picture", "$.bits"))),
    Technical("hdr", _TEXT, (("video", "$.hdr"), ("picture", "$.hdr")), _YES_NO),
    Technical("audio_codec", _TEXT, (("audio", "$.codec"),)),
    Technical("sample_rate_hz", _WHOLE, (("audio", "$.sample_rate_hz"),)),
    Technical("channels", _WHOLE, (("audio", "$.channels"),)),
    Technical("language", _TEXT, (("audio", "$.language"),)),
    Technical("title", _TEXT, (("sidecar", "$.title"), ("media", "$.tags.title"))),
    Technical("loudness_lufs", _REAL, (("sound", "$.integrated_lufs"),)),
    Technical("true_peak_dbtp", _REAL, (("sound", "$.true_peak_dbtp"),)),
    Technical("quality_score", _REAL, (("quality", "$.score"), ("analysis", "$.quality.score"))),
    Technical("verdict", _TEXT, (("validation", "$.verdict"),)),
    Technical("blake3", _TEXT, (("checksum", "$.blake3"),)),
    Technical("phash", _TEXT, (("analysis", "$.phash"),)),
    Technical("dhash", _TEXT, (("analysis", "$.dhash"),)),
    Technical("blurhash", _TEXT, (("analysis", "$.blurhash"),)),
    Technical("colour", _TEXT, (("analysis", "$.palette[0].hex"),)),
)
