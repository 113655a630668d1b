"""CLAHE: contrast-limited adaptive histogram equalisation (Zuiderveld, 1994), as OpenCV has it.

    enhance(images)      uint8 [n, row, col, 1 or 3] -> the same, of more contrast

    colours -> L*a*b* -> tiles of L: a histogram each, clipped, summed up -> a table of new levels
    pixel   -> the tables of the four tiles around it, interpolated     L'a*b* -> colours

This is the "contrast" that NFN's code increases (Zhou et al., 2023), which GMN and ScaleGMN take
over: OpenCV's `createCLAHE` at a clip limit of 1 and 3 x 3 tiles, on the lightness of `BGR2LAB`.
That code applies `BGR2LAB` to red, green and blue in this order, so that red counts as blue and
blue as red: `enhance` too, with `bgr`. A gray image is its own lightness, for which that code has
no rule.

Bytes in, bytes out, and equal to OpenCV's, bit by bit: to its fixed-point tables of 8-bit L*a*b*
(version 3.4 and later) and its float32 interpolation.
"""

import functools

import numpy as np

CLIP, TILES = 1.0, 3
PIECE = 500  # images at a time
WHITE = np.array([0.950456, 1.0, 1.088754])  # D65
XYZ = np.array([
    [0.412453, 0.357580, 0.180423],
    [0.212671, 0.715160, 0.072169],
    [0.019334, 0.119193, 0.950227],
])  # fmt: skip
RGB = np.array([
    [3.240479, -1.53715, -0.498535],
    [-0.969256, 1.875991, 0.041556],
    [0.055648, -0.204043, 1.057311],
])  # fmt: skip
THRESHOLD, SLOPE, OFFSET = 216 / 24389, 841 / 108, 16 / 116  # of the cube root near black
UNIT = 1 << 14  # 1.0 of what lies between L*a*b* and colours
LOWEST = -8145  # of f(X) and f(Z) in that unit


def enhance(
    images: np.ndarray, clip: float = CLIP, tiles: int = TILES, bgr: bool = True
) -> np.ndarray:
    """Images whose lightness is equalised, colours kept.

    Args:
        images: uint8 [n, row, col, channel] of one channel, or of red, green and blue.
        clip: a bin of a histogram holds at most so many times its mean, and one pixel at least.
        tiles: along rows and along columns.
        bgr: the published code's order, red as blue; False is right.

    Returns:
        uint8 [n, row, col, channel].

    Raises:
        ValueError: images of another type or shape, or smaller than what their border reflects.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(
            f"expected uint8 [n, row, col, 1 or 3], got {images.dtype}{list(images.shape)}"
        )
    enhanced = np.empty_like(images)
    order = slice(None, None, -1 if bgr else 1)
    for i in range(0, len(images), PIECE):
        piece = images[i : i + PIECE]
        if images.shape[3] == 1:
            enhanced[i : i + PIECE, ..., 0] = equalize(piece[..., 0], clip, tiles)
            continue
        lab = to_lab(piece[..., order])
        lab[..., 0] = equalize(lab[..., 0], clip, tiles)
        enhanced[i : i + PIECE] = from_lab(lab)[..., order]
    return enhanced


def equalize(levels: np.ndarray, clip: float = CLIP, tiles: int = TILES) -> np.ndarray:
    """CLAHE of one channel, uint8 [n, row, col] -> uint8 [n, row, col].

    Where a side is no multiple of `tiles`, both are continued by reflection, for histograms alone.

    Raises:
        ValueError: the image is too small to be continued.
    """
    shape = levels.shape[1:]
    added = (0, 0) if not any(n % tiles for n in shape) else tuple(tiles - n % tiles for n in shape)
    if min(n - 1 - more for n, more in zip(shape, added, strict=True)) < 0:
        raise ValueError(f"expected images that {tiles} x {tiles} tiles cover, got {shape}")
    padded = np.pad(levels, [(0, 0), (0, added[0]), (0, added[1])], mode="reflect")
    sides = [n // tiles for n in padded.shape[1:]]
    area = sides[0] * sides[1]
    cut = padded.reshape(-1, tiles, sides[0], tiles, sides[1]).swapaxes(2, 3)
    tables = _tables(cut.reshape(-1, area), max(int(clip * area / 256), 1))
    tables = tables.reshape(-1, tiles, tiles, 256)
    (above, below, down), (left, right, along) = (
        _between(n, side, tiles) for n, side in zip(shape, sides, strict=True)
    )
    image = np.arange(len(levels))[:, None, None]
    read = lambda row, col: tables[image, row[:, None], col, levels].astype(np.float32)
    row = lambda i: read(i, left) * (np.float32(1) - along) + read(i, right) * along
    weight = down[:, None]
    return np.rint(row(above) * (np.float32(1) - weight) + row(below) * weight).astype(np.uint8)


def _tables(tiles, limit):
    """New levels of each tile [tile, pixel] by level, [tile, 256]."""
    count = len(tiles)
    bins = np.arange(count)[:, None] * 256 + tiles
    histogram = np.bincount(bins.reshape(-1), minlength=256 * count).reshape(count, 256)
    excess = np.maximum(histogram - limit, 0).sum(1, keepdims=True)
    histogram = np.minimum(histogram, limit) + excess // 256
    rest = excess % 256  # one more for as many levels, equally far apart from 0 on
    apart = np.maximum(256 // np.maximum(rest, 1), 1)
    level = np.arange(256)
    histogram += (level % apart == 0) & (level // apart < rest)
    return np.rint(histogram.cumsum(1).astype(np.float32) * np.float32(255 / tiles.shape[1]))


def _between(count, side, tiles):
    """Of pixels along an axis: the tiles before and behind, and the weight of the latter."""
    place = np.arange(count, dtype=np.float32) * np.float32(1 / side) - np.float32(0.5)
    before = np.floor(place)
    weight = place - before
    before = before.astype(int)
    return np.maximum(before, 0), np.minimum(before + 1, tiles - 1), weight


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """Converts sRGB to L*a*b*, uint8 [..., 3]: L of 0..100 times 2.55, a and b plus 128."""
    linear, root = _tables_of_lab()
    matrix = np.rint(4096 * XYZ / WHITE[:, None]).astype(int)
    x, y, z = np.moveaxis(root[_shifted(linear[rgb] @ matrix.T, 12)], -1, 0)
    lab = [296 * y - 1336934, 500 * (x - y) + (128 << 15), 200 * (y - z) + (128 << 15)]
    return np.clip(_shifted(np.stack(lab, -1), 15), 0, 255).astype(np.uint8)


def from_lab(lab: np.ndarray) -> np.ndarray:
    """Converts L*a*b* of `to_lab` to sRGB, uint8 [..., 3]; colours that it lacks are clipped."""
    light, root, cubed, gamma = _tables_of_rgb()
    level, a, b = np.moveaxis(lab.astype(int), -1, 0)
    y = root[level]
    x = y + (5 * a * 53687 + 128 >> 13) - 128 * UNIT // 500
    z = y - (b * 41943 + 16 >> 9) + 128 * UNIT // 200 - 1
    xyz = np.stack([cubed[x - LOWEST], light[level], cubed[z - LOWEST]], -1)
    matrix = np.rint(4096 * RGB * WHITE).astype(int)
    return gamma[np.clip(_shifted(xyz @ matrix.T, 14), 0, 4095)]


def _shifted(x, bits):
    """Divides by 2^bits and rounds."""
    return x + (1 << bits - 1) >> bits


@functools.cache
def _tables_of_lab():
    """Linear light of a byte, times 8 * 255; and f of such light, times 2^15."""
    x = (np.arange(256, dtype=np.float32) / np.float32(255)).astype(float)
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    linear = np.rint(np.float32(2040) * linear.astype(np.float32)).astype(int)
    x = (np.arange(3072, dtype=np.float32) * np.float32(1 / 2040)).astype(float)
    cube_root = np.cbrt(x)
    nearest = cube_root.astype(np.float32)  # rounded down, as OpenCV's cube root is
    nearest = np.where(nearest > cube_root, np.nextafter(nearest, np.float32(0)), nearest)
    root = np.where(x < THRESHOLD, (x * SLOPE + OFFSET).astype(np.float32), nearest)
    return linear, np.rint(np.float32(1 << 15) * root).astype(int)


@functools.cache
def _tables_of_rgb():
    """Y and f(Y) of a byte of lightness; the inverse of f from `LOWEST`; the byte of light."""
    byte = np.arange(256)
    dark = byte <= 20
    root = np.where(dark, OFFSET + byte * 5 / (3 * 17 * 29), byte * 100 / (255 * 116) + OFFSET)
    light = np.where(dark, byte * 180 / (17 * 29**3), root**3)
    value = np.arange(LOWEST, LOWEST + UNIT * 9 // 4)
    line = np.sign(value) * (np.abs(value) * 108 // 841) - UNIT * 16 // 116 * 108 // 841
    cubed = np.where(value <= 3390, line, value * value // UNIT * value // UNIT)
    x = np.arange(4096) / 4096
    gamma = np.where(x <= 0.0031308, x * 12.92, x ** (1 / 2.4) * 1.055 - 0.055)
    gamma = np.rint(np.float32(255) * gamma.astype(np.float32)).astype(np.uint8)
    return *(np.rint(UNIT * x).astype(int) for x in (light, root)), cubed, gamma
