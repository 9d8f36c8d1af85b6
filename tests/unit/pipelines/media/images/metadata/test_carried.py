"""What goes with pixels that are encoded anew."""

import io
import struct

import pytest
from PIL import Image, ImageOps

from pipelines.media.images.conversion.convert import convert
from pipelines.media.images.conversion.convert_spec import ConvertSpec
from pipelines.media.images.enhancement.enhance import enhance
from pipelines.media.images.enhancement.enhance_spec import EnhanceSpec
from pipelines.media.images.metadata import exif, ifd, iptc, jpeg_segments, xmp
from pipelines.media.images.metadata.carried import MAX_EXIF_BYTES, MAX_XMP_BYTES, Carried, carried
from pipelines.media.images.thumbnail_spec import ThumbnailSpec
from pipelines.media.images.thumbnails import thumbnails

PACKET = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
 xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/" xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/"
 tiff:Orientation="6" exif:GPSLatitude="47,22.5N" hdrgm:Version="1.0" exif:PixelXDimension="64" dc:format="image/jpeg">
 <dc:creator><rdf:Seq><rdf:li>Jane</rdf:li></rdf:Seq></dc:creator>
 <xmpRights:WebStatement>https://example.org/licence</xmpRights:WebStatement>
 <plus:Licensor><rdf:Seq><rdf:li plus:LicensorURL="https://example.org/buy" plus:LicensorEmail="jane@example.org"/>
 </rdf:Seq></plus:Licensor>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
RIGHT_TO_LEFT = 6


def photo(more: int = 0) -> bytes:
    """A JPEG that lies on its side, with a place, a MakerNote, a thumbnail, XMP and IPTC."""
    block = ifd.Block(
        image={
            exif.ARTIST: ifd.text("Jane"),
            exif.COPYRIGHT: ifd.text("© Jane"),
            0x010F: ifd.text("Maker"),
            0x0112: ifd.short(RIGHT_TO_LEFT, ">"),
            0x9C9C: ifd.Field(1, bytes(more)),
        },
        exif={
            ifd.MAKER_NOTE: ifd.Field(ifd.UNDEFINED, b"in Zurich"),
            0xA002: ifd.short(64, ">"),
            0x8827: ifd.short(400, ">"),
        },
        gps={1: ifd.text("N"), 2: ifd.Field(ifd.RATIONAL, struct.pack(">6L", 47, 1, 22, 1, 30, 1))},
        thumbnail={0x0103: ifd.short(6, ">"), 0x0201: ifd.short(0, ">"), 0x0202: ifd.short(9, ">")},
        thumbnail_file=b"thumbnail",
    )
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "JPEG", exif=exif.PREFIX + ifd.serialise(block), xmp=PACKET)
    records = (iptc.Record(2, 110, b"Agency"), iptc.Record(2, 116, "© Jane".encode()), iptc.Record(2, 90, b"Zurich"))
    resources = iptc.PHOTOSHOP + iptc.with_iptc(b"", iptc.serialise(records), bare=False)
    segment = b"\xff\xed" + struct.pack(">H", len(resources) + 2) + resources
    return buffer.getvalue()[:2] + segment + buffer.getvalue()[2:]


def of(data: bytes, keep) -> Carried:
    with Image.open(io.BytesIO(data)) as image:
        return carried(data, image, keep)


def told(block: Carried) -> tuple[ifd.Block, dict]:
    return exif.parse(block.exif or b""), xmp.flat(xmp.parse(block.xmp))


def test_nothing_goes_with_none():
    assert of(photo(), "none") == Carried()


def test_copyright_is_who_made_it_whose_it_is_and_on_what_terms():
    block, packet = told(of(photo(), "copyright"))
    assert exif.read(block).model_dump(exclude_defaults=True) == {"artist": "Jane", "copyright": "© Jane"}
    assert packet == {
        "dc:creator": ("Jane",),
        "dc:rights": "© Jane",  # of IPTC
        "photoshop:Credit": "Agency",
        "xmpRights:WebStatement": "https://example.org/licence",
        "plus:Licensor[1]/plus:LicensorURL": "https://example.org/buy",
    }


@pytest.mark.parametrize("keep", ["copyright", "all-but-gps"])
def test_no_place_goes_with_less_than_all(keep):
    made = of(photo(), keep)
    block, packet = told(made)
    assert not exif.has_gps(block)
    assert not [name for name in packet if "GPS" in name]
    assert b"Zurich" not in made.exif + made.xmp


def test_all_has_the_place_and_the_maker_note():
    block, packet = told(of(photo(), "all"))
    assert exif.read_gps(block)[0].latitude == pytest.approx(47.375)
    assert exif.read(block).maker_note_bytes == 9
    assert packet["exif:GPSLatitude"] == "47,22.5N"


@pytest.mark.parametrize("keep", ["all-but-gps", "all"])
def test_what_was_true_of_the_old_pixels_stays_behind(keep):
    block, packet = told(of(photo(), keep))
    assert (exif.read(block).orientation, packet["tiff:Orientation"]) == (1, "1")
    assert (block.thumbnail, block.thumbnail_file) == ({}, b"")
    assert 0xA002 not in block.exif
    assert not [name for name in packet if name.startswith(("hdrgm", "exif:Pixel"))]
    assert exif.read(block).iso == 400


@pytest.mark.parametrize("format_", ["JPEG", "WEBP", "AVIF", "PNG"])
def test_pillow_reads_it_in_a_file_and_shows_the_picture_upright(format_):
    made = of(photo(), "all")
    buffer = io.BytesIO()
    Image.new("RGB", (48, 64)).save(buffer, format_)
    with Image.open(io.BytesIO(made.within(buffer.getvalue(), format_.lower(), (48, 64)))) as image:
        assert ImageOps.exif_transpose(image).size == (48, 64)
        assert image.getexif()[exif.ARTIST] == "Jane"
        assert image.info["xmp"] == made.xmp


def test_a_block_is_never_larger_than_a_segment():
    large = photo(60_000)
    assert len(of(large, "all").exif) > 60_000
    block = ifd.Block(image={exif.ARTIST: ifd.text("Jane"), 0x9C9C: ifd.Field(1, bytes(70_000))})
    buffer = io.BytesIO()
    packet = PACKET.replace(b"jane@example.org", b"x" * 80_000)
    Image.new("RGB", (64, 48)).save(buffer, "WEBP", exif=ifd.serialise(block), xmp=packet)
    made = of(buffer.getvalue(), "all")
    assert len(made.exif) <= MAX_EXIF_BYTES
    assert len(made.xmp) <= MAX_XMP_BYTES
    read_block, read_packet = told(made)
    assert (exif.read(read_block).artist, read_packet["dc:creator"]) == ("Jane", ("Jane",))


def test_a_tiff_s_own_structure_stays_behind():
    buffer = io.BytesIO()
    block = Image.Exif()
    block[exif.ARTIST] = "Jane"
    Image.new("RGB", (64, 48)).save(buffer, "TIFF", exif=block)
    made, _ = exif.parse(of(buffer.getvalue(), "all").exif), None
    assert set(made.image) == {exif.ARTIST}


def test_damaged_blocks_are_left_out():
    data = photo().replace(PACKET[:40], b"<!DOCTYPE x [<!ENTITY a 'b'>]>".ljust(40))
    first = jpeg_segments.blocks_of(jpeg_segments.parse(data))
    assert first.xmp.startswith(b"<!DOCTYPE")
    assert "photoshop:Credit" in told(of(data, "all"))[1]


@pytest.mark.parametrize("format_", ["jpeg", "webp", "avif", "png"])
@pytest.mark.parametrize("operation", ["thumbnails", "enhance", "convert"])
def test_a_maker_note_keeps_its_place_in_all_that_is_made(tmp_path, operation, format_):
    """Makers count from the block's begin: a note that moved is of no use."""
    source = tmp_path / "photo.jpg"
    source.write_bytes(photo())
    made_by = {
        "thumbnails": lambda: thumbnails(source, tmp_path / "made", ThumbnailSpec(format=format_, keep="all")),
        "enhance": lambda: enhance(source, tmp_path / "made", EnhanceSpec(gamma=1.2, format=format_, keep="all")),
        "convert": lambda: convert(source, tmp_path / "made", ConvertSpec(format=format_, keep="all")),
    }
    (file,) = made_by[operation]().files
    made = (tmp_path / f"made{file.name}").read_bytes()
    before = of(photo(), "all").exif
    assert before is not None
    assert before in made
