"""CLAHE: OpenCV's bytes where it is installed, and their checksums where it is not."""

import hashlib
import re

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_sample_image

from wsjax.datasets import clahe

DIGITS = load_digits().images
GRAY = (DIGITS[:64] * 15.9375).astype(np.uint8).repeat(4, 1).repeat(4, 2)[..., None]
# three digits are the colours of an image; 30 and 28 are no multiples of three tiles together
COLOURS = np.moveaxis(GRAY[:60, 2:, :28, 0].reshape(20, 3, 30, 28), 1, -1)


def digest(images):
    return hashlib.sha256(images.tobytes()).hexdigest()[:16]


def patches(name):
    """Patches of 32 x 32 of a photograph, [n, row, col, channel]."""
    photograph = load_sample_image(name)[:416]
    return photograph.reshape(13, 32, 20, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)


@pytest.mark.parametrize(
    ("images", "bgr", "expected"),
    [
        (GRAY, True, "50aadf47d5af33d8"),
        (COLOURS, True, "b511f309d9f906ac"),
        (COLOURS, False, "63e8b3adde8ea2dc"),
    ],
    ids=["gray", "bgr", "rgb"],
)
def test_bytes_are_those_of_opencv_by_their_checksum(images, bgr, expected):
    enhanced = clahe.enhance(images, bgr=bgr)
    assert (enhanced.dtype, enhanced.shape) == (np.uint8, images.shape)
    assert digest(enhanced) == expected


def test_with_one_tile_and_no_clipping_it_is_histogram_equalisation():
    image = patches("flower.jpg")[7, ..., :1]
    levels = (image <= np.arange(256)).mean((0, 1))  # the share of pixels that are no brighter
    found = clahe.equalize(image[None, ..., 0], clip=1e9, tiles=1)[0]
    assert np.abs(found - 255 * levels[image[..., 0]]).max() <= 0.5 + 1e-3
    assert np.ptp(found) > np.ptp(image)


def test_colours_survive_the_way_to_lab_and_back():
    colours = patches("china.jpg")
    back = clahe.from_lab(clahe.to_lab(colours)).astype(int)
    assert np.abs(back - colours).mean() < 1
    black, white, red = clahe.to_lab(np.uint8([[0, 0, 0], [255, 255, 255], [255, 0, 0]])).tolist()
    assert (black, white) == ([0, 128, 128], [255, 128, 128])
    assert red == [136, 208, 195]  # 53.2, 80.1, 67.2


@pytest.mark.parametrize("clip", [1.0, 4.0])
@pytest.mark.parametrize("tiles", [2, 3])
def test_opencv_agrees_on_photographs(clip, tiles):
    cv2 = pytest.importorskip("cv2")
    equalizer = cv2.createCLAHE(clipLimit=clip, tileGridSize=(tiles, tiles))

    def enhance(image):
        light, a, b = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2LAB))
        return cv2.cvtColor(cv2.merge((equalizer.apply(light), a, b)), cv2.COLOR_LAB2BGR)

    for images in (patches("china.jpg"), patches("flower.jpg")[:, 1:, :25], COLOURS):
        expected = np.stack([enhance(np.ascontiguousarray(x)) for x in images])
        np.testing.assert_array_equal(clahe.enhance(images, clip, tiles), expected)
    expected = np.stack([equalizer.apply(x[..., 0])[..., None] for x in GRAY])
    np.testing.assert_array_equal(clahe.enhance(GRAY, clip, tiles), expected)


def test_opencv_agrees_on_a_grid_of_all_colours():
    cv2 = pytest.importorskip("cv2")
    axis = np.arange(0, 256, 5, np.uint8)
    colours = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 52, 3)
    np.testing.assert_array_equal(clahe.to_lab(colours), cv2.cvtColor(colours, cv2.COLOR_RGB2LAB))
    np.testing.assert_array_equal(clahe.from_lab(colours), cv2.cvtColor(colours, cv2.COLOR_LAB2RGB))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8, 1), np.float32), "got float32[2, 8, 8, 1]"),
        (np.zeros((2, 8, 8), np.uint8), "got uint8[2, 8, 8]"),
        (np.zeros((2, 8, 8, 4), np.uint8), "got uint8[2, 8, 8, 4]"),
        (np.zeros((1, 2, 1, 1), np.uint8), "3 x 3 tiles cover, got (2, 1)"),
    ],
    ids=["type", "rank", "channels", "size"],
)
def test_images_that_have_no_tiles_are_errors(images, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        clahe.enhance(images)
