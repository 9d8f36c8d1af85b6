"""Metadata of pictures that are made with known ones, of the shared pictures, and of hostile files."""

import hashlib
import io
import json
import math
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from pipelines.media.errors import LimitError, MediaError, NotMediaError, SourceUnreadableError, SourceUnsupportedError
from pipelines.media.images.metadata import (
    avif_boxes,
    avif_rewriting,
    exif,
    ifd,
    iptc,
    jpeg_segments,
    png_chunks,
    tiff_pages,
    webp_chunks,
    xmp,
    xmp_changes,
)
from pipelines.media.images.metadata.metadata import metadata
from pipelines.media.images.metadata.metadata_spec import Metadata, MetadataSpec

SHARED = Path(__file__).resolve().parents[7] / "shared" / "media"
needs_images = pytest.mark.skipif(not (SHARED / "image").is_dir(), reason="the shared images are not here")
ignore_pillow = pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, to whoever reads stderr
WRITABLE = ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"]
PLACES = b"Zurich"
XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="GPS tool"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:aux="http://ns.adobe.com/exif/1.0/aux/"
 xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
 xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/" xmlns:own="http://example.org/own/" xmlns:ext="http://e.org/"
 exif:GPSLatitude="47,22.5N" photoshop:City="Zurich" aux:SerialNumber="12345" aux:Lens="50mm" own:note="kept">
 <dc:title><rdf:Alt><rdf:li xml:lang="x-default">Lake</rdf:li><rdf:li xml:lang="de">See</rdf:li></rdf:Alt></dc:title>
 <dc:creator><rdf:Seq><rdf:li>Jane</rdf:li><rdf:li>Joe</rdf:li></rdf:Seq></dc:creator>
 <dc:rights><rdf:Alt><rdf:li xml:lang="x-default">© Jane</rdf:li></rdf:Alt></dc:rights>
 <xmpRights:WebStatement>https://example.org/licence</xmpRights:WebStatement>
 <xmpMM:History><rdf:Seq><rdf:li stEvt:action="saved" stEvt:when="2026-01-01"/></rdf:Seq></xmpMM:History>
 <ext:Spot rdf:parseType="Resource"><exif:GPSLongitude>8,33E</exif:GPSLongitude><ext:kind>beach</ext:kind></ext:Spot>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()


def picture(width: int = 64, height: int = 48) -> Image.Image:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([x * 3 % 256, y * 5 % 256, (x + y) % 256], axis=-1).astype(np.uint8))


def known_exif() -> Image.Exif:
    """A photo's fields: camera, exposure, times, a place, names, numbers of devices, a MakerNote."""
    block = Image.Exif()
    block[0x010F], block[0x0110], block[0x0131], block[0x0132] = "Maker", "Model", "Tool 1", "2026:05:02 08:00:00"
    block[0x013B], block[0x8298], block[0x010E], block[0x0112] = "Jane", "(c) Jane", "A lake", 6
    inner = block.get_ifd(ifd.EXIF)
    inner[0x829A], inner[0x829D], inner[0x8827], inner[0x920A] = 1 / 250, 2.8, 400, 35.0
    inner[0x9003], inner[0x9011], inner[0x9291] = "2026:05:01 12:30:00", "+02:00", "123"
    inner[0xA434], inner[0xA431], inner[0xA430] = "50mm F1.8", "SN-1", "Owner Name"
    inner[0x9286] = b"ASCII\0\0\0a comment"
    inner[0x927C] = b"Camera\0\0in the middle of Zurich"
    place = block.get_ifd(ifd.GPS)
    place[1], place[2], place[3], place[4] = "N", (47.0, 22.0, 30.0), "W", (8.0, 33.0, 0.0)
    place[5], place[6], place[7], place[29] = b"\x01", 12.5, (10.0, 30.0, 15.0), "2026:05:01"
    return block


def records(**values: str) -> bytes:
    numbers = {name: number for number, name in iptc.NAMES.items()}
    made = [iptc.Record(2, numbers[name], text.encode()) for name, text in values.items()]
    return iptc.serialise((iptc.Record(1, 90, b"\x1b%G"), *made))


def photoshop(block: bytes) -> bytes:
    return iptc.with_iptc(b"", block, bare=False)


def with_segment(data: bytes, marker: int, payload: bytes) -> bytes:
    """A JPEG with one more segment at its begin."""
    return data[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload + data[2:]


def with_chunk(data: bytes, type_: bytes, payload: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    made = struct.pack(">L", len(payload)) + type_ + payload + struct.pack(">L", zlib.crc32(type_ + payload))
    return data[:33] + made + data[33:]


def saved(format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture().save(buffer, format_, **options)
    return buffer.getvalue()


def full(format_: str) -> bytes:
    """A file with EXIF, XMP and, in JPEG, IPTC, a comment and a stranger's segment; in PNG texts."""
    if format_ == "JPEG":
        data = saved("JPEG", exif=known_exif(), xmp=XMP, comment="shot on holiday", dpi=(300, 300))
        block = records(headline="News", city="Zurich", byline="Jane", copyright="© Jane", keywords="lake")
        data = with_segment(data, 0xED, b"Photoshop 3.0\0" + photoshop(block))
        return with_segment(data, 0xE9, b"Stranger Zurich") + b"behind Zurich"
    if format_ == "PNG":
        data = with_chunk(
            saved("PNG", exif=known_exif(), dpi=(300, 300)), b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP
        )
        data = with_chunk(data, b"tEXt", b"Comment\0shot on holiday")
        return with_chunk(with_chunk(data, b"tEXt", b"GPS position\0Zurich"), b"zzZz", b"Zurich")
    if format_ == "TIFF":
        block = known_exif()
        block[exif.XMP], block[exif.IPTC] = XMP, records(headline="News", city="Zurich")
        return saved("TIFF", exif=block.tobytes(), dpi=(300, 300))
    return saved(format_, exif=known_exif().tobytes(), xmp=XMP)


def frames(data: bytes) -> list[str]:
    """What every frame shows."""
    with Image.open(io.BytesIO(data)) as image:
        return [
            hashlib.sha256(np.asarray(each.convert("RGBA")).tobytes()).hexdigest()
            for each in ImageSequence.Iterator(image)
        ]


@pytest.fixture
def read(tmp_path):
    """Reads the metadata of bytes."""

    def read(data: bytes) -> Metadata:
        source = tmp_path / "read"
        source.write_bytes(data)
        return metadata(source=source, target=tmp_path / "none", spec=MetadataSpec())

    return read


@pytest.fixture
def change(tmp_path):
    """Changes the metadata of bytes: what was told, and the bytes that were made."""

    def change(data: bytes, **spec: object) -> tuple[Metadata, bytes]:
        source = tmp_path / "source"
        source.write_bytes(data)
        result = metadata(source=source, target=tmp_path / "made", spec=MetadataSpec(**spec))
        return result, (tmp_path / f"made{result.files[0].name}").read_bytes()

    return change


# What is read.


@pytest.mark.parametrize("format_", WRITABLE)
def test_exif_has_names_and_types(read, format_):
    result = read(saved(format_, exif=known_exif().tobytes()))
    told = result.exif
    assert (told.make, told.model, told.lens, told.iso) == ("Maker", "Model", "50mm F1.8", 400)
    assert told.exposure_s == pytest.approx(0.004)
    assert (told.f_number, told.focal_length_mm, result.source.orientation) == (pytest.approx(2.8), 35, 6)
    assert (told.taken_at, told.changed_at) == ("2026-05-01T12:30:00.123+02:00", "2026-05-02T08:00:00")
    assert (told.artist, told.copyright, told.description) == ("Jane", "(c) Jane", "A lake")
    assert (told.software, told.user_comment, told.other["BodySerialNumber"]) == ("Tool 1", "a comment", "SN-1")


@pytest.mark.parametrize("format_", WRITABLE)
def test_a_place_is_in_signed_degrees(read, format_):
    told = read(saved(format_, exif=known_exif().tobytes())).gps
    assert (told.latitude, told.longitude) == (pytest.approx(47.375), pytest.approx(-8.55))
    assert (told.altitude_m, told.time) == (-12.5, "2026-05-01T10:30:15Z")


@pytest.mark.parametrize("format_", WRITABLE)
def test_xmp_is_flat(read, format_):
    told = read(full(format_)).xmp
    assert (told["dc:title"], told["dc:title[de]"]) == ("Lake", "See")
    assert (told["dc:creator"], told["own:note"]) == (("Jane", "Joe"), "kept")
    assert told["xmpMM:History[1]/stEvt:action"] == "saved"
    assert told["ext:Spot/ext:kind"] == "beach"


def test_iptc_has_names(read):
    told = read(full("JPEG")).iptc
    assert (told["headline"], told["city"]) == ("News", "Zurich")
    assert (told["byline"], told["keywords"]) == (("Jane",), ("lake",))


def test_a_jpeg_s_comment_and_resolution_are_told(read):
    told = read(full("JPEG"))
    assert (told.comments, told.dpi) == (("shot on holiday",), (300, 300))
    assert told.trailing_bytes == len(b"behind Zurich")


@pytest.mark.parametrize(("format_", "loop", "loops"), [("GIF", 2, 3), ("PNG", 3, 3), ("WEBP", 3, 3)])
def test_an_animation_s_times_are_told(read, format_, loop, loops):
    moving = [Image.new("RGB", (20, 20), (80 * each, 0, 0)) for each in range(3)]
    buffer = io.BytesIO()
    moving[0].save(buffer, format_, save_all=True, append_images=moving[1:], duration=[100, 200, 400], loop=loop)
    told = read(buffer.getvalue()).animation
    assert (told.durations_ms, told.duration_s, told.loops) == ((100, 200, 400), 0.7, loops)


def test_a_profile_is_told(read):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    told = read(saved("JPEG", icc_profile=profile)).icc
    assert (told.device_class, told.colour_space, told.size_bytes) == ("mntr", "RGB", len(profile))
    assert "sRGB" in told.description


def test_nothing_is_made_when_nothing_is_asked(tmp_path):
    source = tmp_path / "only.jpg"
    source.write_bytes(full("JPEG"))
    assert metadata(source=source, target=tmp_path / "made", spec=MetadataSpec()).files == ()
    assert [each.name for each in tmp_path.iterdir()] == ["only.jpg"]


# What is stripped.


@pytest.mark.parametrize("format_", WRITABLE)
def test_what_is_told_is_of_the_file_that_was_made(change, read, format_):
    told, made = change(full(format_), strip="gps", artist="Zoë")
    assert (told.gps, told.exif.artist, told.exif.maker_note_bytes) == (None, "Zoë", None)
    files_aside = {"files", "warnings"}
    assert told.model_dump(exclude=files_aside) == read(made).model_dump(exclude=files_aside)


@pytest.mark.parametrize("strip", ["gps", "private", "all"])
@pytest.mark.parametrize("format_", WRITABLE)
def test_no_place_is_left_anywhere(change, read, format_, strip):
    _, made = change(full(format_), strip=strip)
    told = read(made)
    assert told.gps is None
    assert not [name for name in told.xmp if "GPS" in name or "City" in name]
    for word in (PLACES, b"GPS", b"Stranger"):
        assert word not in made


@pytest.mark.parametrize("strip", ["nothing", "gps", "private", "all"])
@pytest.mark.parametrize("format_", WRITABLE)
def test_pixels_stay_the_same(change, format_, strip):
    data = full(format_)
    _, made = change(data, strip=strip, title="Changed")
    assert frames(made) == frames(data)


@pytest.mark.parametrize("format_", WRITABLE)
def test_gps_leaves_all_that_tells_no_place(change, read, format_):
    _, made = change(full(format_), strip="gps")
    told = read(made)
    before = read(full(format_)).exif
    assert told.exif == before.model_copy(update={"maker_note_bytes": None})
    assert (told.xmp["own:note"], told.xmp["dc:title"], told.xmp["ext:Spot/ext:kind"]) == ("kept", "Lake", "beach")
    assert told.dpi == read(full(format_)).dpi


@pytest.mark.parametrize("format_", WRITABLE)
def test_private_keeps_credit_times_and_settings_only(change, read, format_):
    _, made = change(full(format_), strip="private")
    told = read(made)
    kept = told.exif
    assert (kept.artist, kept.copyright, kept.taken_at, told.source.orientation, kept.iso, kept.lens) == (
        "Jane", "(c) Jane", "2026-05-01T12:30:00.123+02:00", 6, 400, "50mm F1.8",
    )  # fmt: skip
    assert (kept.software, kept.user_comment, kept.maker_note_bytes, kept.description) == (None,) * 4
    assert set(told.xmp) == {"dc:creator", "dc:rights", "xmpRights:WebStatement", "aux:Lens"}
    for word in (b"SN-1", b"Owner", b"12345", b"holiday", b"Tool 1"):
        assert word not in made


def test_private_keeps_of_iptc_the_credit(change, read):
    _, made = change(full("JPEG"), strip="private")
    assert read(made).iptc == {"byline": ("Jane",), "copyright": "© Jane"}


@pytest.mark.parametrize("format_", WRITABLE)
def test_all_keeps_the_orientation_only(change, read, format_):
    _, made = change(full(format_), strip="all")
    told = read(made)
    assert told.source.orientation == 6
    if format_ == "AVIF":  # it's in a box of its own there
        assert told.exif is None
    else:
        assert told.exif.model_dump(exclude_defaults=True) == {"orientation": 6}
    assert (told.xmp, told.iptc, told.comments, told.texts, told.trailing_bytes) == ({}, {}, (), {}, 0)


def test_what_stands_behind_the_end_is_kept_unless_stripped(change):
    assert change(full("JPEG"), title="T")[1].endswith(b"behind Zurich")
    assert change(full("JPEG"), strip="gps")[1].endswith(b"\xff\xd9")


def test_a_profile_stays(change, read):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for format_ in WRITABLE:
        assert read(change(saved(format_, icc_profile=profile), strip="all")[1]).icc is not None


def test_a_thumbnail_goes_with_what_is_private(change, read):
    block = ifd.Block(
        image={0x010F: ifd.text("Maker")},
        thumbnail={0x0103: ifd.short(6, ">"), 0x0201: ifd.short(0, ">"), 0x0202: ifd.short(700, ">")},
        thumbnail_file=b"\xff\xd8" + bytes(698),
    )
    data = saved("JPEG", exif=exif.PREFIX + ifd.serialise(block))
    assert read(data).exif.thumbnail_bytes == 700
    assert read(change(data, strip="gps")[1]).exif.thumbnail_bytes == 700
    assert read(change(data, strip="private")[1]).exif.thumbnail_bytes is None


def test_an_image_magick_profile_is_stripped_too(change, read):
    block = exif.PREFIX + known_exif().tobytes()[6:]
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    data = with_chunk(saved("PNG"), b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))
    assert read(data).gps is not None
    _, made = change(data, strip="gps")
    told = read(made)
    assert (told.gps, told.exif.make) == (None, "Maker")
    assert b"Raw profile" not in made


# What is written.


@pytest.mark.parametrize("bare", [True, False], ids=["bare", "full"])
@pytest.mark.parametrize("format_", WRITABLE)
def test_values_are_written_and_read_again(change, read, format_, bare):
    data = saved(format_) if bare else full(format_)
    _, made = change(
        data,
        artist="Zoë",
        copyright="© 2026 Zoë",
        title="T & <t>",
        description="A caption",
        keywords=("a", "ß"),
        taken_at="2026-07-08T09:10:11.5+02:00",
    )
    told = read(made)
    assert (told.exif.artist, told.exif.copyright, told.exif.description) == ("Zoë", "© 2026 Zoë", "A caption")
    assert told.exif.taken_at == "2026-07-08T09:10:11.5+02:00"
    assert (told.xmp["dc:creator"], told.xmp["dc:rights"]) == (("Zoë",), "© 2026 Zoë")
    assert (told.xmp["dc:title"], told.xmp["dc:subject"]) == ("T & <t>", ("a", "ß"))
    assert told.xmp["photoshop:DateCreated"] == "2026-07-08T09:10:11.500000+02:00"
    assert frames(made) == frames(data)


@pytest.mark.parametrize("format_", WRITABLE)
def test_pillow_finds_what_was_written(change, format_):
    _, made = change(full(format_), artist="Somebody", strip="private")
    with Image.open(io.BytesIO(made)) as image:
        assert image.getexif()[exif.ARTIST] == "Somebody"
        assert b"Somebody" in image.info["xmp"]


@pytest.mark.parametrize("had", ["nothing", "something"])
def test_pillow_finds_it_in_an_animated_avif(change, had):
    block = known_exif()
    block[0x0112] = 1  # Pillow 13 crashes when it writes animations that are turned
    told = {"exif": block.tobytes(), "xmp": XMP} if had == "something" else {}
    moving = [Image.new("RGB", (20, 20), (60 * each, 0, 200)) for each in range(4)]
    buffer = io.BytesIO()
    moving[0].save(buffer, "AVIF", save_all=True, append_images=moving[1:], **told)
    _, made = change(buffer.getvalue(), artist="Somebody", strip="gps")
    with Image.open(io.BytesIO(made)) as image:
        assert image.getexif()[exif.ARTIST] == "Somebody"
        assert b"Somebody" in image.info["xmp"]
    assert PLACES not in made
    assert frames(made) == frames(buffer.getvalue())


def test_a_jpeg_has_values_in_iptc_too(change, read):
    told = read(change(full("JPEG"), artist="Zoë", keywords=("a", "b"), description="Caption")[1]).iptc
    assert (told["byline"], told["keywords"], told["caption"]) == (("Zoë",), ("a", "b"), "Caption")
    assert told["headline"] == "News"


@pytest.mark.parametrize("format_", WRITABLE)
def test_what_is_not_written_stays(change, read, format_):
    before, after = read(full(format_)), read(change(full(format_), title="Other")[1])
    assert (after.exif, after.gps) == (before.exif, before.gps)
    assert {**before.xmp, "dc:title": "Other"} == {**after.xmp, "dc:title[de]": "See"}


def test_a_maker_note_stays_where_it_was(change):
    """What points into it counts from the block's begin."""
    data = full("JPEG")
    before = exif.parse(jpeg_segments.blocks_of(jpeg_segments.parse(data)).exif).exif[ifd.MAKER_NOTE]
    _, made = change(data, artist="a much longer name than there was before", description="x" * 500)
    after = exif.parse(jpeg_segments.blocks_of(jpeg_segments.parse(made)).exif).exif[ifd.MAKER_NOTE]
    assert (after.at, after.raw) == (before.at, before.raw)


def test_a_plain_webp_gets_a_header_that_tells_of_its_metadata(change):
    clear = picture().convert("RGBA")
    clear.putalpha(100)
    buffer = io.BytesIO()
    clear.save(buffer, "WEBP", lossless=True)
    _, made = change(buffer.getvalue(), artist="Zoë")
    first = webp_chunks.parse(made).chunks[0]
    assert (first.type, first.payload[0] & 0x1C) == (b"VP8X", 0x1C)
    assert frames(made) == frames(buffer.getvalue())


def test_flags_of_a_webp_go_with_its_metadata(change):
    _, made = change(saved("WEBP", xmp=XMP), strip="all")
    assert webp_chunks.parse(made).chunks[0].payload[0] & 0x0C == 0


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP", "AVIF"])
def test_animations_keep_their_frames(change, read, format_):
    moving = [Image.new("RGB", (20, 20), (60 * each, 0, 200)) for each in range(4)]
    buffer = io.BytesIO()
    moving[0].save(buffer, format_, save_all=True, append_images=moving[1:], duration=70, loop=0)
    _, made = change(buffer.getvalue(), strip="private", artist="Zoë")
    told = read(made)
    assert (told.animation, told.xmp["dc:creator"]) == (read(buffer.getvalue()).animation, ("Zoë",))
    assert frames(made) == frames(buffer.getvalue())


def test_a_gif_s_comment_and_xmp_are_stripped(change, read):
    data = saved("GIF", comment=b"holiday in Zurich")
    _, with_xmp = change(data, title="T")
    assert (read(with_xmp).comments, read(with_xmp).xmp["dc:title"]) == (("holiday in Zurich",), "T")
    told = read(change(with_xmp, strip="all")[1])
    assert (told.comments, told.xmp) == ((), {})


def test_what_does_not_fit_is_refused(change):
    block = ifd.Block(image={0x010F: ifd.text("m" * 64_000)})
    data = saved("JPEG", exif=exif.PREFIX + ifd.serialise(block))
    with pytest.raises(LimitError, match="EXIF would have"):
        change(data, description="x" * 2000)


def test_a_format_that_is_only_read_is_named(change):
    with pytest.raises(SourceUnsupportedError, match="JPEG, PNG, WebP"):
        change(saved("BMP"), artist="Zoë")


def test_every_page_of_a_tiff_is_stripped(change, read):
    buffer = io.BytesIO()
    second = picture()
    second.encoderinfo = {"exif": known_exif().tobytes()}
    picture().save(
        buffer, "TIFF", save_all=True, append_images=[second], exif=known_exif().tobytes(), compression="raw"
    )
    data = buffer.getvalue()
    layout = tiff_pages.Layout("<", big=False)
    assert [exif.has_gps(each.block) for each in tiff_pages.pages(data, layout)] == [True, True]
    _, made = change(data, strip="gps", artist="Zoë")
    found = list(tiff_pages.pages(made, layout))
    assert len(found) == 2
    assert not any(exif.has_gps(each.block) for each in found)
    assert PLACES not in made
    assert frames(made) == frames(data)
    assert read(made).exif.artist == "Zoë"


def test_pages_that_lead_back_are_refused():
    layout = tiff_pages.Layout("<", big=False)
    data = b"II*\0" + struct.pack("<LHL", 8, 0, 8)
    with pytest.raises(SourceUnreadableError, match="directories"):
        list(tiff_pages.pages(data, layout))


def test_metadata_that_share_bytes_with_pixels_are_refused(change):
    """To overwrite one would change the other."""
    block = Image.Exif()
    block[0x0131] = "some program"
    data = bytearray(saved("TIFF", exif=block))
    page = next(tiff_pages.pages(bytes(data), tiff_pages.Layout("<", big=False)))
    pixels = struct.unpack("<L", page.block.image[0x0111].raw)[0]
    at = data.index(struct.pack("<HHL", 0x0131, 2, len("some program") + 1))
    struct.pack_into("<L", data, at + 8, pixels)
    with pytest.raises(SourceUnsupportedError, match="share bytes"):
        change(bytes(data), strip="all")


# Several pictures in one file.


def several(second: bytes | None = None) -> bytes:
    """A JPEG of two pictures, each with a place."""
    buffer = io.BytesIO()
    other = Image.open(io.BytesIO(second or saved("JPEG", exif=known_exif())))
    picture().save(buffer, "MPO", save_all=True, append_images=[other], exif=known_exif().tobytes())
    return buffer.getvalue()


def pictures_of(data: bytes) -> list[bytes]:
    """Where the index says that they are, and as long as it says."""
    first = jpeg_segments.parse(data)
    index = next(each.payload[4:] for each in first.segments if each.payload.startswith(b"MPF\0"))
    order, fields = ifd.first_directory(index)
    raw = fields[0xB002].raw
    spans = [struct.unpack_from(order + "LL", raw, at + 4) for at in range(0, len(raw), 16)]
    return [data[(start + first.mpf_at if start else 0) :][:size] for size, start in spans]


@pytest.mark.parametrize("spec", [{"strip": "gps"}, {"strip": "all"}, {"artist": "somebody with a long name"}])
def test_the_index_of_pictures_tells_where_they_are(change, spec):
    data = several()
    _, made = change(data, **spec)
    pictures = pictures_of(made)
    assert len(pictures) == 2
    assert all(each.startswith(b"\xff\xd8") and each.endswith(b"\xff\xd9") for each in pictures)
    assert b"".join(pictures) == made
    assert frames(made) == frames(data)


def test_a_place_in_another_picture_is_stripped_too(change, read):
    data = several(saved("JPEG", exif=known_exif(), xmp=XMP))
    _, made = change(data, strip="gps")
    assert all(read(each).gps is None for each in pictures_of(made))
    assert PLACES not in made


def test_other_pictures_are_dropped_when_asked(change, read):
    data = several()
    _, made = change(data, other_pictures="drop")
    told = read(made)
    assert (told.other_pictures, told.trailing_bytes) == (0, 0)
    assert b"MPF\0" not in made
    assert frames(made) == frames(data)[:1]
    assert told.exif == read(data).exif


def test_an_index_that_points_nowhere_is_left_out(change, read):
    data = several()
    cut = data[: jpeg_segments.parse(data).end]
    assert "Its index of pictures is damaged." in read(cut).warnings
    result, made = change(cut, strip="gps")
    assert b"MPF\0" not in made
    assert any("left out" in each for each in result.warnings)


def _ultra_hdr(largest: str = "2.5") -> bytes:
    """A picture and its gain map, as Android writes them."""
    told = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" '
        'xmlns:Container="http://ns.google.com/photos/1.0/container/" '
        'xmlns:Item="http://ns.google.com/photos/1.0/container/item/" hdrgm:Version="1.0" {more}>{items}'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    item = '<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="{}" Item:Mime="image/jpeg"{}/></rdf:li>'
    map_ = saved("JPEG", exif=known_exif(), xmp=told.format(more=f'hdrgm:GainMapMax="{largest}"', items="").encode())
    listed = item.format("Primary", "") + item.format("GainMap", f' Item:Length="{len(map_)}"')
    items = f"<Container:Directory><rdf:Seq>{listed}</rdf:Seq></Container:Directory>"
    buffer = io.BytesIO()
    picture().save(buffer, "MPO", save_all=True, append_images=[Image.open(io.BytesIO(map_))])
    alone = several(map_)  # Pillow encodes the second anew: put the map itself behind the first
    first = jpeg_segments.parse(alone)
    head = with_segment(alone[: first.end], 0xE1, jpeg_segments._XMP + told.format(more="", items=items).encode())
    made = bytearray(head + map_)
    parsed = jpeg_segments.parse(head)
    index = next(each.payload[4:] for each in parsed.segments if each.payload.startswith(b"MPF\0"))
    order, fields = ifd.first_directory(index)
    struct.pack_into(order + "LL", made, parsed.mpf_at + fields[0xB002].at + 4, len(head), 0)
    struct.pack_into(order + "LL", made, parsed.mpf_at + fields[0xB002].at + 20, len(map_), len(head) - parsed.mpf_at)
    return bytes(made)


@pytest.mark.parametrize("strip", ["gps", "private", "all"])
def test_a_gain_map_stays_and_is_found(change, read, strip):
    assert read(_ultra_hdr()).gain_map.largest == (2.5,)
    _, made = change(_ultra_hdr(), strip=strip)
    told = read(made)
    assert (told.gain_map.kind, told.gain_map.largest) == ("ultra-hdr", (2.5,))
    second = pictures_of(made)[1]
    assert told.xmp["Container:Directory[2]/Container:Item/Item:Length"] == str(len(second))
    assert read(second).gps is None


@pytest.mark.parametrize("largest", ["1e999", "-1e999", "inf", "nan", "9" * 400])
def test_a_gain_that_is_no_number_is_told(read, largest):
    told = read(_ultra_hdr(largest))
    assert (told.gain_map.largest, told.warnings) == (None, ("Its gain map's gain is no number.",))


def test_nothing_tells_of_a_gain_map_that_is_dropped(change, read):
    told = read(change(_ultra_hdr(), other_pictures="drop")[1])
    assert (told.gain_map, told.source.gain_map, told.xmp) == (None, False, {})


# Damaged and hostile files.

_ENTITY = '<!ENTITY {} "{}">'
_BOMB = (
    "<!DOCTYPE x ["
    + _ENTITY.format("a0", "ha" * 50)
    + "".join(_ENTITY.format(f"a{each + 1}", f"&a{each};" * 10) for each in range(12))
    + "]>"
)
_BOMBS = {
    "laughs": f"{_BOMB}<x:xmpmeta xmlns:x='adobe:ns:meta/'>&a12;</x:xmpmeta>",
    "outside": "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x:xmpmeta xmlns:x='adobe:ns:meta/'>&e;"
    "</x:xmpmeta>",
    "deep": "<a>" * 10_000 + "</a>" * 10_000,
    "wide": "<a>" + "<b/>" * 100_000 + "</a>",
    "cut": XMP.decode()[:400],
    "none": "",
    "binary": "\x00\x01\x02",
}


@pytest.mark.parametrize("bomb", _BOMBS)
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_an_xmp_bomb_is_a_warning(read, change, format_, bomb):
    packet = _BOMBS[bomb].encode()
    if format_ == "JPEG" and len(packet) > 60_000:
        pytest.skip("it doesn't fit into a segment")
    if format_ == "PNG":
        data = with_chunk(saved("PNG"), b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)
    else:
        data = saved(format_, xmp=packet)
    told = read(data)
    assert told.xmp == {}
    assert b"root:" not in told.model_dump_json().encode()
    if packet:
        assert any("XMP" in each for each in told.warnings)
    _, made = change(data, strip="gps", title="T")
    assert read(made).xmp["dc:title"] == "T"


def _blocks() -> dict[str, bytes]:
    entry = struct.Struct("<HHLL")
    head = b"II*\0" + struct.pack("<L", 8)
    return {
        "cycle": head + struct.pack("<H", 2) + entry.pack(0x8769, 4, 1, 8) + entry.pack(0x8825, 4, 1, 8)
        + struct.pack("<L", 8),
        "count": head + struct.pack("<H", 1) + entry.pack(0x010F, 2, 0xFFFFFFFF, 8) + bytes(4),
        "wide": head + struct.pack("<H", 1) + entry.pack(0x829A, 12, 0x1FFFFFFF, 8) + bytes(4),
        "fields": head + struct.pack("<H", 0xFFFF) + entry.pack(0x010F, 2, 4, 0) * 100,
        "type": head + struct.pack("<H", 1) + entry.pack(0x010F, 999, 4, 0) + bytes(4),
        "far": b"II*\0" + struct.pack("<L", 0xFFFFFFF0),
        "short": b"II*\0",
        "zero": head + struct.pack("<H", 1) + entry.pack(0x829A, 5, 1, 26) + bytes(12),
        "junk": b"no exif at all, but some words",
        "overlaps": head
        + struct.pack("<H", 900)
        + b"".join(entry.pack(0x9000 + each, 7, 60_000, 8) for each in range(900))
        + bytes(60_000),
    }  # fmt: skip


@ignore_pillow
@pytest.mark.parametrize("kind", _blocks())
@pytest.mark.parametrize("format_", WRITABLE)
def test_hostile_exif_is_a_warning_or_a_typed_error(read, change, format_, kind):
    data = _blocks()[kind]
    if format_ == "JPEG":
        file = with_segment(saved("JPEG"), 0xE1, (exif.PREFIX + data)[:65_000])
    elif format_ == "PNG":
        file = with_chunk(saved("PNG"), b"eXIf", data)
    else:
        file = saved("WEBP", exif=data)
    try:
        told = read(file)
        _, made = change(file, strip="private", artist="Zoë")
    except (SourceUnreadableError, LimitError):
        return  # the header's reader may refuse it; what was short may not fit when its values don't overlap
    assert len(told.model_dump_json()) < 1_000_000
    assert read(made).exif.artist == "Zoë"


@pytest.mark.parametrize("kind", sorted(_blocks().keys() - {"zero"}))
def test_damage_of_exif_is_told(kind):
    assert exif.parse(_blocks()[kind]).warnings


def test_values_that_overlap_are_bounded():
    block = exif.parse(_blocks()["overlaps"])
    assert sum(len(each.raw) for each in block.image.values()) <= ifd.MAX_VALUES_BYTES


@ignore_pillow
def test_a_bomb_of_compressed_text_is_refused_or_told(read):
    bomb = zlib.compress(bytes(200 << 20), 9)
    for type_, payload in ((b"zTXt", b"Comment\0\0" + bomb), (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb)):
        file = with_chunk(saved("PNG"), type_, payload)
        assert any("text" in each for each in png_chunks.blocks_of(png_chunks.parse(file))[1])
        with pytest.raises(SourceUnreadableError):
            read(file)


def _lying() -> dict[str, bytes]:
    png, webp, gif, jpeg = (bytearray(saved(each)) for each in ("PNG", "WEBP", "GIF", "JPEG"))
    png[33:37] = struct.pack(">L", 0x7FFFFFFF)
    webp[16:20] = struct.pack("<L", 0xFFFFFFF0)
    jpeg[4:6] = struct.pack(">H", 0xFFFF)
    return {"png": bytes(png), "webp": bytes(webp), "jpeg": bytes(jpeg), "gif": bytes(gif[:40])}


@ignore_pillow
@pytest.mark.parametrize("kind", _lying())
@pytest.mark.parametrize("spec", [{}, {"strip": "all"}, {"artist": "Zoë"}])
def test_lengths_that_lie_are_typed_errors_or_warnings(tmp_path, kind, spec):
    source = tmp_path / "lying"
    source.write_bytes(_lying()[kind])
    with suppress(MediaError):
        metadata(source=source, target=tmp_path / "made", spec=MetadataSpec(**spec))


@ignore_pillow
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_files_with_bytes_turned_over_never_crash(tmp_path, format_):
    """Whatever is damaged: told, changed, or refused with a type."""
    good = full(format_) if format_ in WRITABLE else saved(format_, exif=known_exif())
    rng = np.random.default_rng(7)
    source = tmp_path / "turned"
    for number in range(150):
        data = bytearray(good)
        for at in rng.integers(0, min(len(data), 3000), 1 + number % 8):
            data[at] = rng.integers(0, 256)
        if number % 5 == 0:
            del data[int(rng.integers(8, len(data))) :]
        source.write_bytes(data)
        strip = ("nothing", "gps", "private", "all")[number % 4]
        with suppress(MediaError):
            metadata(source=source, target=tmp_path / "made", spec=MetadataSpec(strip=strip))
            metadata(source=source, target=tmp_path / "made", spec=MetadataSpec(artist="Zoë", strip=strip))


def test_avif_boxes_with_bytes_turned_over_never_crash():
    good = full("AVIF")
    rng = np.random.default_rng(7)
    for number in range(500):
        data = bytearray(good)
        for at in rng.integers(0, 600, 1 + number % 4):
            data[at] = rng.integers(0, 256)
        with suppress(MediaError):
            avif = avif_boxes.parse(bytes(data))
            avif_boxes.blocks_of(bytes(data), avif)
            avif_boxes.durations_ms(bytes(data), avif)
            avif_rewriting.rewritten(bytes(data), lambda blocks, _pictures: blocks, bare=bool(number % 2))


def test_iptc_that_is_cut_off_is_told(read):
    block = records(headline="News", city="Zurich")[:-3]
    told = read(with_segment(saved("JPEG"), 0xED, b"Photoshop 3.0\0" + photoshop(block)))
    assert (told.iptc, told.warnings) == ({"headline": "News"}, ("Its IPTC is cut off.",))


def test_a_broken_profile_is_told(read):
    told = read(saved("JPEG", icc_profile=b"no profile" * 30))
    assert told.icc is None
    assert any("ICC" in each for each in told.warnings)


def test_a_position_that_is_none_is_told(read):
    block = known_exif()
    block.get_ifd(ifd.GPS)[2] = (147.0, 0.0, 0.0)
    told = read(saved("JPEG", exif=block))
    assert (told.gps.latitude, told.warnings) == (None, ("Its position isn't one.",))


def _tiff_of(fields: dict[int, ifd.Field], gps: dict[int, ifd.Field] | None = None) -> bytes:
    """An EXIF block of fields, which stand in its first, its EXIF and its GPS directory alike."""
    return ifd.serialise(ifd.Block(">", image=fields, exif=fields, gps=fields if gps is None else gps))


_FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)
_NUMBERS = st.one_of(
    st.lists(_FLOATS, min_size=1, max_size=4).map(lambda each: ifd.Field(12, struct.pack(f">{len(each)}d", *each))),
    st.lists(st.floats(width=32), min_size=1, max_size=4).map(
        lambda each: ifd.Field(11, struct.pack(f">{len(each)}f", *each))
    ),
    st.lists(st.sampled_from((0, 1, 60, 2**32 - 1)), min_size=2, max_size=8).map(
        lambda each: ifd.Field(5, struct.pack(f">{len(each) // 2 * 2}L", *each[: len(each) // 2 * 2]))
    ),
    st.text("0123456789:.ein- ", max_size=20).map(ifd.text),
)
_MEASURED = (0x829A, 0x829D, 0x8827, 0x920A, 0xA405, 0x9204, 0x9209, 0x0112, 0x9201, 0xA404, 0xA432)
_PLACED = (1, 2, 3, 4, 5, 6, 7, 13, 17, 31)


@settings(deadline=None, max_examples=150)
@given(
    fields=st.dictionaries(st.sampled_from(_MEASURED), _NUMBERS),
    gps=st.dictionaries(st.sampled_from(_PLACED), _NUMBERS),
)
def test_exif_tells_finite_numbers_only(fields, gps):
    block = exif.parse(_tiff_of(fields, {**gps, 29: ifd.text("2026:05:01")}))
    place, _ = exif.read_gps(block)
    for told in (exif.read(block), place):
        json.dumps(told.model_dump() if told else None, allow_nan=False)


@pytest.mark.parametrize("hour", [math.nan, math.inf, -math.inf, 1e300])
def test_a_gps_time_that_is_none_is_left_out(hour):
    clock = ifd.Field(12, struct.pack(">3d", hour, 30, 15))
    block = ifd.Block(">", gps={7: clock, 29: ifd.text("2026:05:01")})
    assert exif.read_gps(block) == (None, ())


@pytest.mark.parametrize(
    "field",
    [
        ifd.text("many"),
        ifd.text("1e999"),
        ifd.Field(5, struct.pack("<2L", 300, 0)),
        ifd.Field(12, struct.pack("<d", math.inf)),
        ifd.Field(12, struct.pack("<d", math.nan)),
    ],
    ids=["text", "too large", "by zero", "infinite", "not a number"],
)
@ignore_pillow
def test_a_tiff_s_resolution_that_is_no_number_is_left_out(read, field):
    assert read(_tiff_with_resolution(field)).dpi is None


def _tiff_with_resolution(field: ifd.Field) -> bytes:
    """A grey TIFF of 2x2 pixels, which stand behind its directory."""
    number = {0x0100: 2, 0x0101: 2, 0x0102: 8, 0x0103: 1, 0x0106: 1, 0x0115: 1, 0x0116: 2, 0x0117: 4, 0x0128: 2}
    fields = {tag: ifd.short(value, "<") for tag, value in number.items()}
    fields |= {0x011A: field, 0x011B: field, 0x0111: ifd.Field(ifd.LONG, bytes(4))}
    size_bytes = len(ifd.serialise(ifd.Block("<", image=fields)))
    fields[0x0111] = ifd.Field(ifd.LONG, struct.pack("<L", size_bytes))
    return ifd.serialise(ifd.Block("<", image=fields)) + bytes(4)


def test_a_packet_declares_the_prefixes_it_uses():
    packet = xmp.parse(XMP)
    again = xmp.parse(xmp.serialise(packet))
    assert xmp.flat(again) == xmp.flat(packet)


_FAR = "Berlin at night. " * 130 + "GPS: 52.5200N 13.4050E"  # behind the first 2000 characters


@pytest.mark.parametrize("element", [False, True], ids=["attribute", "element"])
def test_a_place_far_behind_in_a_text_is_stripped_too(change, read, element):
    told = f"><dc:source>{_FAR}</dc:source></rdf:Description>" if element else f' dc:source="{_FAR}"/>'
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/jpeg"{told}'
        "</rdf:RDF></x:xmpmeta>"
    )
    _, made = change(saved("JPEG", xmp=packet.encode()), strip="gps")
    assert b"52.5200N" not in made
    assert read(made).xmp == {"dc:format": "image/jpeg"}


def test_a_place_is_looked_for_in_the_largest_text_there_may_be():
    assert not any(xmp_changes._is_place(("", ""), text * (xmp.MAX_PACKET_BYTES // 4)) for text in ("gp ", "lat", "g"))


@pytest.mark.parametrize("strip", ["gps", "private", "all"])
def test_a_place_in_the_name_of_what_is_told_of_is_stripped_too(change, read, strip):
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="GPS: 52.5200N 13.4050E" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'dc:rights="mine"/></rdf:RDF></x:xmpmeta>'
    )
    _, made = change(saved("JPEG", xmp=packet.encode()), strip=strip)
    assert b"52.5200N" not in made


# The shared pictures.

_REFUSED = frozenset({"heif", "heic", "ico", "jp2", "psd", "svg"})


def _images() -> list[str]:
    folder = SHARED / "image"
    return sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []


def _bad() -> list[Path]:
    folder = SHARED / "bad" / "image"
    return sorted(folder.iterdir()) if folder.is_dir() else []


@needs_images
@pytest.mark.parametrize("name", _images())
def test_a_shared_image_is_told_and_changed(tmp_path, read, name):
    source = SHARED / "image" / name
    if name.rsplit(".", 1)[1] in _REFUSED:
        with pytest.raises(NotMediaError):
            metadata(source=source, target=tmp_path / "none", spec=MetadataSpec())
        return
    told = metadata(source=source, target=tmp_path / "none", spec=MetadataSpec())
    assert told.warnings == ()
    shown = frames(source.read_bytes())
    for spec in (MetadataSpec(strip="private"), MetadataSpec(strip="gps", artist="Zoë", keywords=("a",))):
        try:
            result = metadata(source=source, target=tmp_path / "made", spec=spec)
        except SourceUnsupportedError:
            assert told.source.format == "bmp"
            return
        made = (tmp_path / f"made{result.files[0].name}").read_bytes()
        assert frames(made) == shown
        after = read(made)
        assert (after.gps, after.source, after.other_pictures) == (None, told.source, told.other_pictures)
        assert after.warnings == ()


@needs_images
def test_the_shared_photo_with_a_place_is_read(tmp_path):
    told = metadata(source=SHARED / "image" / "jpeg_gps.jpg", target=tmp_path / "none", spec=MetadataSpec())
    assert (told.gps.latitude, told.gps.longitude) == (
        pytest.approx(43.46745, abs=1e-4),
        pytest.approx(11.88513, abs=1e-4),
    )
    assert (told.exif.model, told.exif.iso) == ("COOLPIX P6000", 64)


@needs_images
def test_the_shared_photo_with_iptc_is_read(tmp_path):
    told = metadata(source=SHARED / "image" / "jpeg_iptc.jpg", target=tmp_path / "none", spec=MetadataSpec())
    assert (told.iptc["city"], told.iptc["country"]) == ("Budapest", "Hungary")


@needs_images
def test_the_shared_gain_map_stays_in_its_place(tmp_path, change, read):
    data = (SHARED / "image" / "jpeg_12mp_gainmap.jpg").read_bytes()
    assert (read(data).gain_map.kind, read(data).gain_map.largest) == ("ultra-hdr", (1.072403,))
    _, made = change(data, strip="all")
    assert b"".join(pictures_of(made)) == made
    assert read(made).gain_map == read(data).gain_map
    assert frames(pictures_of(made)[1]) == frames(pictures_of(data)[1])


@needs_images
@ignore_pillow
@pytest.mark.parametrize("file", _bad(), ids=lambda file: file.name)
def test_a_bad_image_is_told_or_refused_with_a_code(tmp_path, file):
    for strip in ("nothing", "all"):
        with suppress(MediaError):
            metadata(source=file, target=tmp_path / "made", spec=MetadataSpec(strip=strip))
