"""Names in XMP: namespaces, the usual prefixes, and which properties tell what."""

import re

Name = tuple[str, str]  # namespace, name

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XML = "http://www.w3.org/XML/1998/namespace"
META = "adobe:ns:meta/"
DC = "http://purl.org/dc/elements/1.1/"
XMP, RIGHTS = "http://ns.adobe.com/xap/1.0/", "http://ns.adobe.com/xap/1.0/rights/"
PHOTOSHOP, TIFF = "http://ns.adobe.com/photoshop/1.0/", "http://ns.adobe.com/tiff/1.0/"
EXIF, EXIF_EX, AUX = "http://ns.adobe.com/exif/1.0/", "http://cipa.jp/exif/1.0/", "http://ns.adobe.com/exif/1.0/aux/"
PLUS, CC = "http://ns.useplus.org/ldf/xmp/1.0/", "http://creativecommons.org/ns#"
NOTE = "http://ns.adobe.com/xmp/note/"
GAIN_MAP = "http://ns.adobe.com/hdr-gain-map/1.0/"
APPLE_MAP, APPLE_AUX = "http://ns.apple.com/HDRGainMap/1.0/", "http://ns.apple.com/pixeldatainfo/1.0/"
CAMERA = "http://ns.google.com/photos/1.0/camera/"
CONTAINER = "http://ns.google.com/photos/1.0/container/"
ITEM = "http://ns.google.com/photos/1.0/container/item/"
PREFIXES = {
    RDF: "rdf", XML: "xml", META: "x", DC: "dc", XMP: "xmp", RIGHTS: "xmpRights", PHOTOSHOP: "photoshop",
    TIFF: "tiff", EXIF: "exif", EXIF_EX: "exifEX", AUX: "aux", PLUS: "plus", CC: "cc", NOTE: "xmpNote",
    GAIN_MAP: "hdrgm", APPLE_MAP: "HDRGainMap", APPLE_AUX: "apdi", CAMERA: "GCamera", CONTAINER: "Container",
    ITEM: "Item", "http://ns.adobe.com/xap/1.0/mm/": "xmpMM",
    "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#": "stEvt",
    "http://ns.adobe.com/xap/1.0/sType/ResourceRef#": "stRef", "http://ns.adobe.com/camera-raw-settings/1.0/": "crs",
    "http://ns.adobe.com/lightroom/1.0/": "lr", "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "Iptc4xmpCore",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
}  # fmt: skip

GEO = "http://www.w3.org/2003/01/geo/wgs84_pos#"
PLACE_NAME = re.compile(r"gps|latitude|longitude|altitude|location|makernote|^(lat|lon|long|lng)$", re.IGNORECASE)
PLACE_NAMES = frozenset({"City", "State", "ProvinceState", "Country", "CountryCode", "CountryName", "WorldRegion"})
PLACE_TEXT = re.compile(r"\b(gps|latitude|longitude)", re.IGNORECASE)

CREDIT = frozenset(
    {
        (DC, "creator"), (DC, "rights"), (PHOTOSHOP, "Credit"), (TIFF, "Artist"), (TIFF, "Copyright"),
        (PLUS, "Licensor"), (PLUS, "CopyrightOwner"), (PLUS, "CreditLineRequired"), (CC, "license"),
        (CC, "attributionName"), (CC, "attributionURL"), (XMP, "WebStatement"),
    }
)  # fmt: skip
SETTINGS = frozenset(
    {
        (XMP, "CreateDate"), (XMP, "ModifyDate"), (PHOTOSHOP, "DateCreated"), (EXIF, "DateTimeOriginal"),
        (EXIF, "DateTimeDigitized"), (TIFF, "DateTime"), (TIFF, "Orientation"), (TIFF, "Make"), (TIFF, "Model"),
        (AUX, "Lens"), (AUX, "LensInfo"), (EXIF_EX, "LensModel"), (EXIF_EX, "LensSpecification"),
        (EXIF_EX, "LensMake"), (EXIF_EX, "PhotographicSensitivity"),
    }
)  # fmt: skip
PLUS_KEPT = frozenset(
    {"Licensor", "LicensorName", "LicensorURL", "CopyrightOwner", "CopyrightOwnerName", "CreditLineRequired"}
)
SETTINGS_NOT = frozenset({"MakerNote", "UserComment", "ImageUniqueID", "RelatedSoundFile"})
# Of a picture made anew it tells nothing that is true: gain maps, depth, other pictures, colour, thumbnails.
OF_OLD_PIXELS = frozenset(
    {
        GAIN_MAP, APPLE_MAP, APPLE_AUX, CAMERA, CONTAINER, ITEM, NOTE, "http://ns.google.com/photos/1.0/depthmap/",
        "http://ns.google.com/photos/1.0/image/", "http://ns.google.com/photos/1.0/audio/",
    }
)  # fmt: skip
OF_OLD_NAMES = frozenset(
    {(XMP, "Thumbnails"), (PHOTOSHOP, "ICCProfile"), (PHOTOSHOP, "ColorMode"), (EXIF, "ColorSpace"),
     (EXIF, "PixelXDimension"), (EXIF, "PixelYDimension"), (TIFF, "ImageWidth"), (TIFF, "ImageLength"),
     (TIFF, "BitsPerSample"), (TIFF, "PhotometricInterpretation"), (TIFF, "Compression"),
     (TIFF, "SamplesPerPixel"), (TIFF, "PlanarConfiguration"), (PHOTOSHOP, "DocumentAncestors")}
)  # fmt: skip
