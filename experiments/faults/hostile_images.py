"""Folders with one hostile picture beside good ones, read by `image_folders.read_folder`.

It must give the pixels that a viewer shows, or an error that names the file. JPEGs have no
checksums, so that a reader cannot notice a changed byte: PNGs alone are mutated.
"""

import io
import os
import pathlib
import shutil
import struct
import zlib
from collections.abc import Callable

import numpy as np
import PIL.Image
import PIL.ImageOps

from experiments.faults.attacks import FORKED, Attack, cases, verdict
from experiments.faults.mutators import mutate
from wsjax.zoos.inrs import image_folders

ESCAPE = "\x1b[31mred"
ORIENTATION = 0x0112  # of EXIF
JPEG = b"\xff\xd8"


def picture(kind: str = "PNG", mode: str = "L", size: tuple[int, int] = (6, 5), **more) -> bytes:
    """A picture of noise; always the same."""
    channels = {"L": 1, "RGB": 3, "CMYK": 4, "RGBA": 4, "I;16": 1, "P": 1, "1": 1}[mode]
    rng, out = np.random.default_rng(channels), io.BytesIO()
    noise = rng.integers(0, 256, (size[1], size[0], channels), np.uint8)
    image = PIL.Image.fromarray(noise[..., 0] if channels == 1 else noise)
    image = image if image.mode == mode else image.convert(mode)
    image.save(out, kind, **more)
    return out.getvalue()


def pixels(data: bytes) -> np.ndarray:
    """The pixels [row, col, channel] of a picture as a viewer shows it, by Pillow."""
    with PIL.Image.open(io.BytesIO(data)) as image:
        array = np.asarray(PIL.ImageOps.exif_transpose(image))
    return array.reshape(*array.shape[:2], -1)


def _turned(kind, orientation):
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    return picture(kind, exif=exif)


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width, height, *chunks, bits=8, color=0):
    """A PNG by hand, with these chunks behind its head."""
    head = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join([_chunk(b"IHDR", head), *chunks, _chunk(b"IEND", b"")])


def _pixels(count):
    """A chunk of so many bytes, packed."""
    return _chunk(b"IDAT", zlib.compress(bytes(count)))


def _text_bomb(kind):
    start = b"a\0\1\0\0\0" if kind == b"iTXt" else b"a\0\0"
    chunk = lambda: _chunk(kind, start + zlib.compress(bytes(8 << 20)))
    return lambda path: path.write_bytes(_png(6, 5, chunk(), _pixels(35)))


PICTURES: dict[str, tuple[str, bytes | Callable[[pathlib.Path], object], bool | None]] = {
    # title -> name of the file, its bytes or what makes it, whether it may be read
    **{
        f"a {kind} that is to be turned, {n}": (f"a.{kind.lower()}", _turned(kind, n), True)
        for kind in ("PNG", "JPEG") for n in (1, 2, 3, 6, 8)
    },
    "a name with escape codes": (f"{ESCAPE}.png", picture(), True),
    "a damaged file with escape codes": (f"{ESCAPE}.png", picture()[:40], False),
    "another size with escape codes": (f"{ESCAPE}.png", picture(size=(9, 9)), False),
    "another ending with escape codes": (f"{ESCAPE}.gif", picture("GIF"), False),
    "a name of two lines": ("a\nb.png", picture()[:40], False),
    "a name that is not UTF-8": (os.fsdecode(b"\xff\xfe.png"), picture()[:40], False),
    "a name that is not UTF-8, and good": (os.fsdecode(b"\xff\xfe.png"), picture(), True),
    "an empty file": ("a.png", b"", False),
    "text": ("a.png", b"<svg/>" * 40, False),
    "a GIF by the name of a PNG": ("a.png", picture("GIF"), False),
    "a TIFF by the name of a JPEG": ("a.jpg", picture("TIFF"), False),
    "a JPEG by the name of a PNG": ("a.png", picture("JPEG"), True),
    "half a PNG": ("a.png", picture()[:-30], False),
    "a PNG without its end": ("a.png", picture()[:-12], True),
    "a PNG and more": ("a.png", picture() + bytes(99), True),
    "half a JPEG": ("a.jpg", picture("JPEG")[:-40], False),
    "a JPEG of its head": ("a.jpg", picture("JPEG")[:200], False),
    "a CMYK JPEG": ("a.jpg", picture("JPEG", "CMYK"), False),
    "a PNG with alpha": ("a.png", picture(mode="RGBA"), False),
    "a PNG of 16 bits": ("a.png", _png(6, 5, _pixels(65), bits=16), False),
    "a PNG of one bit": ("a.png", picture(mode="1"), False),
    "a PNG of a palette": ("a.png", picture(mode="P"), False),
    "a PNG in colour": ("a.png", picture(mode="RGB"), False),
    "a PNG of 2**31 columns": ("a.png", _png(2**31 - 1, 1), False),
    "a PNG of 60,000 x 60,000": ("a.png", _png(60_000, 60_000), False),
    "a PNG of no columns": ("a.png", _png(0, 5), False),
    "a PNG without pixels": ("a.png", _png(6, 5), False),
    "a PNG of too few pixels": ("a.png", _png(6, 5, _pixels(7)), False),
    "a PNG that unpacks to 64 MB": (
        "a.png", lambda p: p.write_bytes(_png(6, 5, _pixels(64 << 20))), None,
    ),
    **{
        f"a PNG with {kind.decode()} that unpacks to 8 MB": ("a.png", _text_bomb(kind), None)
        for kind in (b"zTXt", b"iTXt", b"iCCP")
    },
    "a chunk of 2**31 bytes": ("a.png", picture()[:33] + b"\x7f\xff\xff\xffIDAT", False),
    "a file of 20 GB of holes": ("a.png", lambda p: _sparse(p, 20 << 30), False),
    "a folder by the name of a PNG": ("a.png", lambda p: p.mkdir(), False),
    "a pipe by the name of a PNG": ("a.png", os.mkfifo, False),
    "a link to another file": ("a.png", lambda p: p.symlink_to("/etc/hostname"), False),
    "a link to itself": ("a.png", lambda p: p.symlink_to(p), False),
    "a link to nothing": ("a.png", lambda p: p.symlink_to("nothing.png"), False),
}  # fmt: skip


def _sparse(path, size):
    with path.open("wb") as file:
        file.truncate(size)


def _read_pictures(folder, name, readable):
    """The verdict on the file of a name beside good ones; its pixels are those a viewer shows."""

    def read():
        try:
            images = image_folders.read_folder(folder)
        except Exception as error:
            if "\x1b" in str(error):
                raise RuntimeError(f"escape codes as they are: {error!r}") from error
            raise
        return None if readable is None else images.images[sorted(os.listdir(folder)).index(name)]

    right = {None: lambda: [None], False: list}.get(
        readable, lambda: [pixels((folder / name).read_bytes())]
    )
    printable = name.replace("\x1b", "").splitlines()[0].encode("ascii", "ignore").decode()
    return verdict(read, right(), [printable])


def _pictures(rng, count, folder):
    for number, _ in cases(rng, count):
        title = [*PICTURES][number % len(PICTURES)]
        name, content, readable = PICTURES[title]
        home = folder / "pictures"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        if callable(content):
            content(home / name)
        else:
            (home / name).write_bytes(content)
        same = content if readable and "turned" in title else picture()
        for i in range(2):
            (home / f"{i}{'.jpg' if same.startswith(JPEG) else '.png'}").write_bytes(same)
        found = FORKED.run(_read_pictures, home, name, readable)
        yield found._replace(words=f"{title}: {found.words}")


def _mutated_pictures(rng, count, folder):
    good = picture()
    for number, own in cases(rng, count):
        home = folder / "mutated"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        for i in range(2):
            (home / f"{i}.png").write_bytes(good)
        words, data = mutate(own, picture(size=(6, 5), optimize=bool(number % 2)))
        (home / "a.png").write_bytes(data)
        found = FORKED.run(_read_mutated, home)
        yield found._replace(words=f"{words}: {found.words}")


def _read_mutated(home):
    read = lambda: image_folders.read_folder(home).images[-1]
    return verdict(read, [pixels(picture())], ["a.png"])


ATTACKS = (
    Attack("pictures", "hostile PNG and JPEG files", len(PICTURES), len(PICTURES), _pictures),
    Attack("pictures_mutated", "PNG files with damaged bytes", 400, 20, _mutated_pictures),
)
