"""What files say about photographs, written by the libraries that cameras and editors use the formats of."""

from __future__ import annotations

import io
import math
import struct
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

from model.images.cameras import camera_name, lens_name
from model.images.exif import parse_time
from model.images.facts import read_facts
from model.images.limits import ImageLimits
from model.images.processes import Decoders
from model.images.reduction import Reduction
from model.images.types import PhotoFacts

BERLIN = timezone(timedelta(hours=2))


def exif(
    main: dict[int, Any] | None = None, sub: dict[int, Any] | None = None, gps: dict[int, Any] | None = None
) -> Any:
    block = Image.Exif()
    for tag, value in (main or {}).items():
        block[tag] = value
    block.get_ifd(0x8769).update(sub or {})
    block.get_ifd(0x8825).update(gps or {})
    return block


def picture(format: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), (90, 120, 30)).save(buffer, format, **options)
    return buffer.getvalue()


def degrees(value: float) -> tuple[IFDRational, ...]:
    whole = int(value)
    minutes = int((value - whole) * 60)
    return IFDRational(whole), IFDRational(minutes), IFDRational(round((value * 60 % 1) * 60 * 1000), 1000)


def full() -> Any:
    """Saving takes things out of it: each file has its own."""
    return exif(
        {0x010F: "NIKON CORPORATION", 0x0110: "NIKON D750", 0x0112: 6, 0x9C9B: "Título\0".encode("utf-16-le")},
        {
            0x9003: "2024:05:01 10:30:15",
            0x9291: "25",
            0x9011: "+02:00",
            0xA434: "AF-S 50mm f/1.8G",
        },
        {1: "S", 2: degrees(33.8568), 3: "E", 4: degrees(151.2153), 29: "2024:05:01", 7: degrees(8.5)},
    )


EXPECTED = PhotoFacts(
    taken=datetime(2024, 5, 1, 10, 30, 15, 250_000, BERLIN),
    camera="Nikon D750",
    lens="AF-S 50mm f/1.8G",
    place=(pytest.approx(-33.8568, abs=1e-6), pytest.approx(151.2153, abs=1e-6)),  # type: ignore[arg-type]
    orientation=6,
    title="Título",
)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
def test_exif_of_every_container(format: str) -> None:
    if format == "HEIF":
        from pillow_heif import register_heif_opener

        register_heif_opener()
    found = read_facts(picture(format, exif=full()))
    if format in ("HEIF", "AVIF"):  # they turn the picture by a property of the container, and say 1
        assert found.orientation in (1, 6, None)
        found = PhotoFacts(**{**vars(found), "orientation": 6})
    assert found == EXPECTED


def test_exif_of_tiff() -> None:
    tags = {0x010F: "Canon", 0x0110: "Canon EOS R5", 0x8769: {0x9003: "2024:05:01 10:30:15", 0x9011: "+02:00"}}
    assert read_facts(picture("TIFF", tiffinfo=tags)) == PhotoFacts(
        taken=datetime(2024, 5, 1, 10, 30, 15, tzinfo=BERLIN), camera="Canon EOS R5"
    )


def test_exif_of_jpeg_xl() -> None:
    pytest.importorskip("pillow_jxl")
    block = full().tobytes().removeprefix(b"Exif\0\0")
    boxes = [
        (b"JXL ", b"\r\n\x87\n"),
        (b"ftyp", b"jxl \0\0\0\0jxl "),
        (b"Exif", bytes(4) + block),
        (b"jxlc", b"\xff\x0a"),
    ]
    data = b"".join(struct.pack(">I4s", len(body) + 8, kind) + body for kind, body in boxes)
    assert read_facts(data) == EXPECTED


@pytest.mark.parametrize("magic", [b"II*\0", b"IIRO", b"IIU\0"])
def test_camera_raw_that_is_tiff_by_another_name(magic: bytes) -> None:
    main = ImageFileDirectory_v2(prefix=b"II")
    main[0x010F], main[0x0110], main[0xC612] = "Panasonic", "DC-S5", b"\1\4\0\0"
    main[0x8769] = {0x9003: "2024:05:01 10:30:15"}
    buffer = io.BytesIO()
    buffer.write(b"II*\0\x08\0\0\0" + main.tobytes(8))
    data = magic + buffer.getvalue()[4:]
    assert read_facts(data) == PhotoFacts(taken=datetime(2024, 5, 1, 10, 30, 15), camera="Panasonic DC-S5")


def test_camera_raw_of_fujifilm_and_canon() -> None:
    preview = picture(exif=full())
    raf = b"FUJIFILMCCD-RAW ".ljust(84, b"\0") + struct.pack(">II", 92, len(preview)) + preview
    assert read_facts(raf) == EXPECTED

    def tiff(tags: dict[int, Any], group: int | None = None) -> bytes:
        directory = ImageFileDirectory_v2(prefix=b"II", group=group)
        for tag, value in tags.items():
            directory[tag] = value
        return b"II*\0\x08\0\0\0" + directory.tobytes(8)

    parts = {
        b"CMT1": tiff({0x010F: "Canon", 0x0110: "Canon EOS R5"}),
        b"CMT2": tiff({0x9003: "2024:05:01 10:30:15"}, 0x8769),
    }
    body = b"".join(struct.pack(">I", len(data) + 8) + name + data for name, data in parts.items())
    cr3 = b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + struct.pack(">I4s", len(body) + 8, b"moov") + body
    assert read_facts(cr3) == PhotoFacts(taken=datetime(2024, 5, 1, 10, 30, 15), camera="Canon EOS R5")


XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmlns:aux="http://ns.adobe.com/exif/1.0/aux/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 exif:DateTimeOriginal="2024-05-01T10:30:15.25+02:00" tiff:Make="Apple" tiff:Model="iPhone 12" aux:Lens="wide"
 exif:GPSLatitude="52,31.2N" exif:GPSLongitude="13,24,18W">
<dc:title><rdf:Alt><rdf:li xml:lang="de">Das Tor</rdf:li>
<rdf:li xml:lang="x-default">The  gate\n</rdf:li></rdf:Alt></dc:title>
<dc:subject><rdf:Bag><rdf:li>Berlin</rdf:li><rdf:li>gate</rdf:li><rdf:li>berlin</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "TIFF", "PNG"])
def test_xmp(format: str) -> None:
    if format == "PNG":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP)
        data = picture("PNG", pnginfo=info)
    elif format == "TIFF":
        data = picture("TIFF", tiffinfo={700: XMP.encode()})
    else:
        data = picture(format, xmp=XMP.encode())
    assert read_facts(data) == PhotoFacts(
        taken=datetime(2024, 5, 1, 10, 30, 15, 250_000, BERLIN),
        camera="Apple iPhone 12",
        lens="wide",
        place=(pytest.approx(52.52), pytest.approx(-13.405)),  # type: ignore[arg-type]
        title="The gate",
        keywords=("Berlin", "gate"),
    )


def iptc(*records: tuple[int, bytes]) -> bytes:
    body = b"".join(struct.pack(">BBBH", 0x1C, 2, number, len(text)) + text for number, text in records)
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(body)) + body + (b"\0" if len(body) % 2 else b"")
    segment = b"Photoshop 3.0\0" + resource
    jpeg = picture()
    return jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def test_iptc_in_either_encoding() -> None:
    found = read_facts(iptc((5, "Straße".encode()), (25, b"one"), (25, "zw\xf6lf".encode("cp1252"))))
    assert (found.title, found.keywords) == ("Straße", ("one", "zwölf"))
    assert read_facts(iptc((5, "Stra\xdfe".encode("cp1252")), (25, b"alone"))) == PhotoFacts(
        title="Straße", keywords=("alone",)
    )


@pytest.mark.parametrize(
    ("sub", "gps", "taken"),
    [
        ({0x9003: "2024:05:01 10:30:15"}, {}, datetime(2024, 5, 1, 10, 30, 15)),
        ({0x9003: "2024:05:01 10:30:15", 0x9011: "-09:30"}, {}, "2024-05-01T10:30:15-09:30"),
        ({0x9003: "2024:05:01 10:30:15", 0x9011: "+99:00"}, {}, datetime(2024, 5, 1, 10, 30, 15)),
        ({0x9003: "2024:05:01 10:30:15", 0x9011: "   :  "}, {}, datetime(2024, 5, 1, 10, 30, 15)),
        ({0x9003: "2024:05:01 10:30:15", 0x9291: "123456789"}, {}, datetime(2024, 5, 1, 10, 30, 15, 123456)),
        ({0x9003: "2024:05:01 10:30:15", 0x9291: "ab"}, {}, datetime(2024, 5, 1, 10, 30, 15)),
        ({0x9003: "0000:00:00 00:00:00"}, {}, None),
        ({0x9003: "    :  :     :  :  "}, {}, None),
        ({0x9003: "2024:13:01 10:30:15"}, {}, None),
        ({0x9003: "yesterday"}, {}, None),
        ({0x9004: "2024:05:01 10:30:15"}, {}, None),  # when it was scanned
        ({}, {29: "2024:05:01", 7: degrees(8.5)}, "2024-05-01T08:30:00+00:00"),
        ({0x9003: "0000:00:00 00:00:00"}, {29: "2024:05:01", 7: degrees(8.5)}, "2024-05-01T08:30:00+00:00"),
        ({}, {29: "2024:05:01", 7: (IFDRational(0, 0),) * 3}, None),
        ({}, {29: "2024:05:01", 7: (IFDRational(25), IFDRational(0), IFDRational(0))}, None),
        ({}, {29: "2024:05:01"}, None),
        ({}, {7: degrees(8.5)}, None),
    ],
)
def test_times(sub: dict[int, Any], gps: dict[int, Any], taken: datetime | str | None) -> None:
    wanted = datetime.fromisoformat(taken) if isinstance(taken, str) else taken
    block = exif({0x0132: "2024:06:01 00:00:00"}, sub, gps)  # when the file was last changed does not count
    found = read_facts(picture(exif=block)).taken
    assert found == wanted
    assert (found and found.utcoffset()) == (wanted and wanted.utcoffset())


@pytest.mark.parametrize(
    "text",
    ["2024-05-01T10:30Z", "2024:05:01 10:30:00", "2024/05/01 10:30", "2024:05:01 10:30:00\0", " 2024.05.01 10:30"],
)
def test_times_in_other_hands(text: str) -> None:
    assert parse_time(text.replace("/", "-")) is not None


@pytest.mark.parametrize(
    "gps",
    [
        {1: "N", 2: degrees(0), 3: "E", 4: degrees(0)},
        {1: "N", 2: (IFDRational(0, 0),) * 3, 3: "E", 4: (IFDRational(0, 0),) * 3},
        {2: degrees(48), 4: degrees(11)},
        {1: "N", 2: degrees(48)},
        {1: "N", 2: degrees(91), 3: "E", 4: degrees(11)},
        {1: "N", 2: degrees(48), 3: "E", 4: degrees(181)},
        {1: "X", 2: degrees(48), 3: "E", 4: degrees(11)},
        {1: "", 2: degrees(48), 3: "", 4: degrees(11)},
    ],
)
def test_no_place(gps: dict[int, Any]) -> None:
    assert read_facts(picture(exif=exif(gps=gps))).place is None


@pytest.mark.parametrize(
    ("make", "model", "name"),
    [
        ("NIKON CORPORATION", "NIKON D750", "Nikon D750"),
        ("Canon", "Canon EOS 5D Mark III", "Canon EOS 5D Mark III"),
        ("Apple", "iPhone 12", "Apple iPhone 12"),
        ("SONY", "ILCE-7M3", "Sony ILCE-7M3"),
        ("samsung\0\0", "SM-G960F ", "samsung SM-G960F"),
        ("OLYMPUS IMAGING CORP.  ", "E-M10", "Olympus E-M10"),
        ("FUJIFILM", "X-T3", "Fujifilm X-T3"),
        ("LEICA CAMERA AG", "LEICA Q2", "Leica Q2"),
        ("EASTMAN KODAK COMPANY", "KODAK EASYSHARE C613", "Kodak EASYSHARE C613"),
        ("Konica Minolta Camera, Inc.", "DiMAGE Z3", "Konica Minolta DiMAGE Z3"),
        ("LGE", "LG-H870", "LGE LG-H870"),
        ("HUAWEI", None, "Huawei"),
        (None, "X100", "X100"),
        ("----", "  ", None),
        ("", None, None),
        ("Unknown", "Unknown", None),
        ("Co., Ltd.", "X", "Co X"),
    ],
)
def test_cameras(make: str | None, model: str | None, name: str | None) -> None:
    assert camera_name(make, model) == name


@pytest.mark.parametrize("lens", ["----", "0.0 mm f/0.0", "Unknown", "\0\0", None, "--- mm f/---"])
def test_a_lens_that_is_none(lens: str | None) -> None:
    assert lens_name(lens) is None


def test_text_is_one_line_of_a_bounded_length() -> None:
    block = exif({0x0110: "Model " + "M" * 500, 0x9C9B: ("a\u202eb\x07c\n" + "d" * 5000 + "\0").encode("utf-16-le")})
    found = read_facts(picture(exif=block))
    assert found.camera == "Model " + "M" * 94
    assert found.title is not None
    assert found.title.startswith("a b c d")
    assert len(found.title) == 500
    many = read_facts(iptc(*((25, b"k%d" % n) for n in range(1000))))
    assert len(many.keywords) == 100


def test_one_broken_tag_costs_nothing_but_itself() -> None:
    data = bytearray(picture(exif=full()))
    at = data.index(struct.pack(">HHI", 0x9011, 2, 7))  # the offset: its type becomes one that there is not
    data[at + 2 : at + 4] = b"\0\x63"
    found = read_facts(bytes(data))
    assert found.taken == EXPECTED.taken.replace(tzinfo=None)  # type: ignore[union-attr]
    assert (found.camera, found.lens) == (EXPECTED.camera, EXPECTED.lens)


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]><x>&j;</x>"
)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff" + b"\x87\x69\0\4\0\0\0\1\0\0\0\x08" * 2000,
        picture(exif=b"Exif\0\0MM\0*"),
        picture(exif=b"Exif\0\0" + bytes(60_000)),
        picture(xmp=BOMB.encode()),
        picture(xmp=b"<x>" * 10_000),
        picture(xmp=b"\xff\xfe" + "<x/>".encode("utf-16-le")),
        iptc((5, b""))[:400],
        picture(exif=full())[:300],
        b"FUJIFILMCCD-RAW ".ljust(84, b"\0") + struct.pack(">II", 0, 2**32 - 1),
        b"FUJIFILMCCD-RAW ",
        b"\0\0\0\x0cJXL \r\n\x87\n" + struct.pack(">I4s", 1, b"Exif") + bytes(3),
        b"\0\0\0\x0cJXL \r\n\x87\n" + struct.pack(">I4sQ", 1, b"Exif", 0),
    ],
)
@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged directories
def test_hostile_files_say_nothing_and_harm_nobody(data: bytes) -> None:
    started = time.process_time()
    assert read_facts(data) == PhotoFacts()
    assert time.process_time() - started < 5


def slow() -> bytes:
    """A TIFF of which every tag claims the whole file: reading its directory copies a gigabyte again and again."""
    entries = 60_000
    size = 30 * 1024 * 1024
    directory = b"".join(struct.pack("<HHII", 1000 + n % 30_000, 7, size - 8, 8) for n in range(entries))
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", entries) + directory + bytes(4)).ljust(size, b"\0")


def test_in_a_process_of_its_own_time_is_bounded_and_pictures_come_with_their_facts() -> None:
    decoders = Decoders()
    try:
        assert decoders.read_facts(slow()) == PhotoFacts()
        assert decoders.read_facts(picture(exif=full())) == EXPECTED
        decoded = decoders.decode(picture(exif=full()), ImageLimits(), Reduction(shorter=640))
        assert decoded.facts == EXPECTED
        assert (decoded.width, decoded.height) == (16, 24)
        assert decoded.image.getexif() == {}
        assert "exif" not in decoded.image.info
        assert math.prod(decoded.image.size) == 24 * 16
    finally:
        decoders.close()
