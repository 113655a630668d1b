"""Folders of images as a user has them."""

import PIL.Image


def save(path, color=128, shape=(6, 5), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new(mode, shape, color if mode == "L" else (color, 0, 9)).save(path)


def image_folder(folder, counts, **image):
    for name, count in counts.items():
        for i in range(count):
            save(folder / name / f"{i}.png", 5 * i + 100 * (name == "b"), **image)
    return folder
