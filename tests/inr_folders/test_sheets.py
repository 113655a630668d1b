"""A contact sheet holds every image, enlarged, in its place."""

import io

import numpy as np
import PIL.Image
import pytest

from wsjax.inr_folders import sheet


def pixels(data):
    with PIL.Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def test_images_are_enlarged_in_rows():
    images = np.stack([np.full((2, 3, 1), x) for x in (-1.0, 0.0, 1.0, 5.0, np.nan)])
    out = pixels(sheet(images, [""] * 5, low=-1.0, columns=3, side=12))
    assert out.shape == (2 * (8 + 24) + 8, 3 * (12 + 8) + 8, 3)
    tile = lambda row, col: out[8 + 32 * row : 16 + 32 * row, 8 + 20 * col : 20 + 20 * col]
    for place, value in {(0, 0): 0, (0, 1): 128, (0, 2): 255, (1, 0): 255, (1, 1): 0}.items():
        assert np.unique(tile(*place)).tolist() == [value]
    assert out.mean() > 128  # the paper is white


def test_captions_are_cut_and_escaped():
    image = np.zeros((1, 4, 4, 3))
    blank, short, long = (sheet(image, [t], 0.0, side=40) for t in ("", "ab", "ab" * 99 + "\x1b"))
    assert np.count_nonzero(pixels(blank)[50:] < 200) == 0
    assert np.count_nonzero(pixels(short)[50:] < 200) > 0
    assert pixels(long).shape == pixels(blank).shape


def test_channels_are_one_or_three():
    with pytest.raises(ValueError, match="images of 1 or 3 channels, got 2"):
        sheet(np.zeros((1, 4, 4, 2)), [""], 0.0)
