"""One small picture in all supported forms of image files, and in forms that are refused."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 45, 61
ORIENTATION, MAKER, DATE = 0x0112, 0x010F, 0x0132
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Of a pixel, by the color type of a PNG."""


def picture(height=HEIGHT, width=WIDTH):
    """RGBA, smooth, without symmetry."""
    coarse = np.random.default_rng(0).integers(0, 256, [4, 5, 4], dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encode(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def exif(orientation, *, big=False, before=((MAKER, b"maker\0"),), kind=3, prefix=b"Exif\0\0"):
    """A TIFF block with an orientation after other tags, in either byte order."""
    order = ">" if big else "<"
    tags = [(tag, 2, len(text), text) for tag, text in before]
    value = struct.pack(order + {3: "HH", 4: "I"}[kind], *[orientation, 0][: 5 - kind])
    entries, extra = b"", b""
    end = 8 + 2 + 12 * (len(tags) + 1) + 4
    for tag, kind_, count, text in tags:
        entries += struct.pack(order + "HHII", tag, kind_, count, end + len(extra))
        extra += text
    entries += struct.pack(order + "HHI", ORIENTATION, kind, 1) + value
    head = (b"MM" if big else b"II") + struct.pack(order + "HIH", 42, 8, len(tags) + 1)
    return prefix + head + entries + b"\0\0\0\0" + extra


def segment(marker, content):
    """Of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def chunk(name, content):
    """Of a PNG."""
    crc = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + crc


def png(samples, bits, color, *before, after=b""):
    """A PNG of any kind; Pillow reads all of them but cannot write all.

    Args:
        samples: integers `[H, W, C]` of `bits` each.
        bits: of a sample.
        color: color type.
        *before: chunks before the pixels.
        after: chunks behind them.
    """
    height, width, depth = samples.shape
    assert depth == SAMPLES[color]
    digits = ["".join(f"{value:0{bits}b}" for value in row.ravel()) for row in samples]
    length = -(-width * depth * bits // 8)
    rows = [int(row.ljust(length * 8, "0"), 2).to_bytes(length, "big") for row in digits]
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    parts = [chunk(b"IHDR", header), *before, pixels, after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def riff(*chunks):
    """A WebP of these (name, content)."""
    body = b"WEBP"
    for name, content in chunks:
        body += name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(image, **options):
    return encode(image, "TIFF", **options)


def bmp(image, bits, compression=0, masks=b"", top_down=False, size=40):
    """A BMP, with the rows from the bottom up or from the top down."""
    array = np.asarray(image)[..., ::-1]
    height, width = array.shape[:2]
    rows = array if top_down else array[::-1]
    padded = [row.tobytes().ljust(-(-width * bits // 32) * 4, b"\0") for row in rows]
    head = struct.pack("<IiiHHIIiiII", size, width, -height if top_down else height, 1, bits,
                       compression, 0, 0, 0, 0, 0)  # fmt: skip
    head += masks.ljust(size - 40, b"\0") if size > 40 else masks
    offset = 14 + len(head)
    data = b"".join(padded)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + head + data


RGBA = picture()
RGB, GRAY = RGBA.convert("RGB"), RGBA.convert("L")
PALETTE = RGB.quantize(40)
JPEG = encode(RGB, "JPEG")
STEPS = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH, 1)
COLORS = np.random.default_rng(1).integers(0, 256, [16, 3], dtype=np.uint8).tobytes()


def with_icc(content):
    """Inserts a long segment, as cameras and editors write it."""
    return JPEG[:2] + segment(0xE2, b"ICC_PROFILE\0\1\1" + b"\0" * 9000) + content + JPEG[2:]


def jpegs():
    forms = {
        "JPEG": JPEG,
        "JPEG gray": encode(GRAY, "JPEG"),
        "JPEG progressive": encode(RGB, "JPEG", progressive=True),
        "JPEG 4:4:4": encode(RGB, "JPEG", subsampling=0, quality=95),
        "JPEG 4:2:2": encode(RGB, "JPEG", subsampling=1),
        "JPEG poor": encode(RGB, "JPEG", quality=10),
        "JPEG CMYK": encode(RGB.convert("CMYK"), "JPEG"),
        "JPEG RGB": encode(RGB, "JPEG", keep_rgb=True),
        "JPEG restarts": encode(RGB, "JPEG", restart_marker_blocks=3),
        "JPEG large": encode(picture(500, 700).convert("RGB"), "JPEG"),
        "JPEG large, progressive, turned": encode(
            picture(401, 333).convert("RGB"), "JPEG", progressive=True, exif=exif(6)
        ),
        "JPEG with more behind it": JPEG + b"more" * 50,
        "JPEG with fill bytes": JPEG[:2] + b"\xff\xff\xff" + JPEG[2:],
        "JPEG EXIF behind ICC": with_icc(segment(0xE1, exif(6))),
        "JPEG EXIF behind JFIF": JPEG[:20] + segment(0xE1, exif(8)) + JPEG[20:],
        "JPEG EXIF behind XMP": JPEG[:2]
        + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
        + segment(0xE1, exif(5))
        + JPEG[2:],
        "JPEG EXIF long": encode(RGB, "JPEG", exif=exif(7, kind=4)),
        "JPEG XMP orientation": JPEG[:2]
        + segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>')
        + JPEG[2:],
        "JPEG EXIF nonsense": encode(RGB, "JPEG", exif=b"Exif\0\0nonsense"),
        "JPEG EXIF orientation 9": encode(RGB, "JPEG", exif=exif(9)),
        "JPEG EXIF beyond": encode(RGB, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
        # The bytes of the tag stand in a text, outside of the directory.
        "JPEG EXIF tag in a text": encode(
            RGB,
            "JPEG",
            exif=exif(1, before=((DATE, b"\x12\x01\x03\0\1\0\0\0\6\0\0\0"),)),
        ),
        "JPEG EXIF in a comment": encode(RGB, "JPEG", comment=b"Exif\0\0II*\0"),
        "MPO": encode(RGB, "MPO", save_all=True, append_images=[RGB.rotate(90)]),
    }
    for orientation in range(1, 9):
        forms[f"JPEG EXIF {orientation}"] = encode(RGB, "JPEG", exif=exif(orientation))
        big = exif(orientation, big=True)
        forms[f"JPEG EXIF {orientation} big-endian"] = encode(RGB, "JPEG", exif=big)
    return forms


def pngs():
    rgba = np.asarray(RGBA)
    turn = exif(6, prefix=b"")
    forms = {
        "PNG": encode(RGB, "PNG"),
        "PNG gray": encode(GRAY, "PNG"),
        "PNG RGBA": encode(RGBA, "PNG"),
        "PNG gray and alpha": encode(RGBA.convert("LA"), "PNG"),
        "PNG palette": encode(PALETTE, "PNG"),
        "PNG palette, transparent": encode(PALETTE, "PNG", transparency=1),
        "PNG RGB, transparent": encode(RGB, "PNG", transparency=RGB.getpixel((0, 0))),
        "PNG gray, transparent": encode(GRAY, "PNG", transparency=GRAY.getpixel((0, 0))),
        "PNG 1 bit": encode(GRAY.convert("1"), "PNG"),
        "PNG EXIF": encode(RGB, "PNG", exif=exif(6)),
        "PNG EXIF behind the pixels": png(rgba[..., :3], 8, 2, after=chunk(b"eXIf", turn)),
        "PNG EXIF behind a profile": png(
            rgba[..., :3], 8, 2, chunk(b"prIv", b"\0" * 9000), chunk(b"eXIf", turn)
        ),
        "PNG gray of 16 bits": png(STEPS * 23 % 65536, 16, 0),
        "PNG RGB of 16 bits": png(np.repeat(STEPS * 23, 3, -1) % 65536, 16, 2),
        "PNG RGBA of 16 bits": png(np.repeat(STEPS * 23, 4, -1) % 65536, 16, 6),
        "PNG gray and alpha of 16 bits": png(np.repeat(STEPS * 23, 2, -1) % 65536, 16, 4),
        "APNG": encode(RGB, "PNG", save_all=True, append_images=[RGB.rotate(180)]),
    }
    for bits in (1, 2, 4):
        values = STEPS * 7 % 2**bits
        palette = chunk(b"PLTE", COLORS[: 3 * 2**bits])
        forms[f"PNG gray of {bits} bits"] = png(values, bits, 0)
        forms[f"PNG palette of {bits} bits"] = png(values, bits, 3, palette)
        clear = chunk(b"tRNS", b"\0\x80\x10"[: 2**bits])
        forms[f"PNG palette of {bits} bits, transparent"] = png(values, bits, 3, palette, clear)
    return forms


def gifs():
    still = PALETTE.copy()
    return {
        "GIF": encode(PALETTE, "GIF"),
        "GIF gray": encode(GRAY, "GIF"),
        "GIF interlaced": encode(PALETTE, "GIF", interlace=True),
        "GIF transparent": encode(PALETTE, "GIF", transparency=PALETTE.getpixel((3, 3))),
        "GIF animated": encode(still, "GIF", save_all=True, append_images=[RGB.rotate(90)]),
        "GIF animated, transparent": encode(
            RGBA, "GIF", save_all=True, append_images=[RGBA.rotate(180)]
        ),
        "GIF with a comment": encode(PALETTE, "GIF", comment=b"words, " * 100),
    }


def bmps():
    rgb = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
    return {
        "BMP": encode(RGB, "BMP"),
        "BMP gray": encode(GRAY, "BMP"),
        "BMP palette": encode(PALETTE, "BMP"),
        "BMP 1 bit": encode(GRAY.convert("1"), "BMP"),
        "BMP RGBA": encode(RGBA, "BMP"),
        "BMP from the top": bmp(RGB, 24, top_down=True),
        "BMP 32 bits": bmp(np.asarray(RGBA)[..., [3, 0, 1, 2]], 32),
        "BMP masks": bmp(np.asarray(RGBA)[..., [3, 0, 1, 2]], 32, 3, rgb),
        "BMP long header": bmp(RGB, 24, size=124),
    }


def webps():
    frames = {"save_all": True, "append_images": [RGB.rotate(180)]}
    lossless = encode(RGB, "WEBP", lossless=True)
    canvas = struct.pack("<I", WIDTH - 1)[:3] + struct.pack("<I", HEIGHT - 1)[:3]
    forms = {
        "WebP": encode(RGB, "WEBP"),
        "WebP lossless": lossless,
        "WebP RGBA": encode(RGBA, "WEBP"),
        "WebP RGBA lossless": encode(RGBA, "WEBP", lossless=True),
        "WebP gray": encode(GRAY, "WEBP"),
        "WebP EXIF big-endian": encode(RGB, "WEBP", exif=exif(8, big=True)),
        "WebP EXIF without its name": riff(
            (b"VP8X", b"\x08\0\0\0" + canvas),
            (b"VP8L", lossless[20:]),
            (b"EXIF", exif(3, prefix=b"")),
        ),
        "WebP animated": encode(RGB, "WEBP", **frames),
        "WebP animated, lossless": encode(RGB, "WEBP", lossless=True, **frames),
        "WebP animated, RGBA": encode(RGBA, "WEBP", **frames),
        "WebP animated, EXIF": encode(RGB, "WEBP", exif=exif(6), **frames),
    }
    for orientation in range(1, 9):
        options = {"exif": exif(orientation), "lossless": True}
        forms[f"WebP EXIF {orientation}"] = encode(RGB, "WEBP", **options)
    return forms


def with_scans(count):
    """A progressive JPEG whose last scan is repeated."""
    contents = encode(RGB, "JPEG", progressive=True)
    last = contents[contents.rindex(b"\xff\xda") : -2]
    return contents[:-2] + last * (count - contents.count(b"\xff\xda")) + contents[-2:]


def refused():
    """Forms that both training and serving refuse."""
    white = Image.new("RGB", (WIDTH, HEIGHT), "white")
    small = RGB.crop((5, 5, 30, 30))
    frame = encode(small, "WEBP", save_all=True, append_images=[small.rotate(90)])
    gif = bytearray(encode(PALETTE, "GIF"))
    gif[6:10] = struct.pack("<HH", WIDTH + 5, HEIGHT)
    jpeg_12 = JPEG.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c")
    bits = STEPS % 2
    return {
        "nothing": b"",
        "a text": b"not an image at all",
        "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "AVIF": encode(RGB, "AVIF"),
        "BigTIFF": encode(RGB, "TIFF", big_tiff=True),
        "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
        "JPEG of 12 bits": jpeg_12,
        "a JPEG of many scans": with_scans(101),
        "PNG of 1 bit, transparent": png(bits, 1, 0, chunk(b"tRNS", b"\0\1")),
        "PNG RGB of 16 bits, transparent": png(
            np.repeat(STEPS, 3, -1), 16, 2, chunk(b"tRNS", b"\0\1" * 3)
        ),
        "PNG gray of 16 bits, transparent": png(STEPS, 16, 0, chunk(b"tRNS", b"\0\x17")),
        "GIF with a small frame": bytes(gif),
        "WebP with a small frame": frame[:24] + b"\x40\0\0\x40\0\0" + frame[30:],
        "BMP of 16 bits": bmp(np.asarray(white)[..., :2], 16),
        "a huge PNG": png(STEPS % 256, 8, 0).replace(
            struct.pack(">II", WIDTH, HEIGHT), struct.pack(">II", 90_000, 90_000)
        ),
        "a huge JPEG": JPEG.replace(
            struct.pack(">HH", HEIGHT, WIDTH), struct.pack(">HH", 65_000, 65_000)
        ),
        "a huge GIF": encode(PALETTE, "GIF").replace(
            struct.pack("<HH", WIDTH, HEIGHT), struct.pack("<HH", 65_000, 65_000)
        ),
        "a huge BMP": encode(RGB, "BMP").replace(
            struct.pack("<ii", WIDTH, HEIGHT), struct.pack("<ii", 90_000, 90_000)
        ),
        "a huge WebP": riff((b"VP8X", b"\0\0\0\0" + b"\xff\xff\0" * 2), (b"VP8L", b"\x2f" * 9)),
    }


FORMS = {**jpegs(), **pngs(), **gifs(), **bmps(), **webps()}
REFUSED = refused()
