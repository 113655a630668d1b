"""Contact sheets of rendered INRs."""

import io
from collections.abc import Sequence

import numpy as np

from wsjax.checks import printable


def sheet(
    rendered: np.ndarray, captions: Sequence[str], low: float, columns: int = 10, side: int = 84
) -> bytes:
    """A contact sheet, each image above its caption, as the bytes of a PNG.

    Args:
        rendered: [n, row, col, 1 or 3].
        captions: one for each; what does not fit below an image is cut.
        low: the value of black; that of white is 1.
        columns: images in a row.
        side: of the larger side of an image, in pixels.

    Raises:
        ValueError: images have other channels.
    """
    import PIL.Image
    import PIL.ImageDraw
    import PIL.ImageFont

    count, rows, cols, channels = rendered.shape
    if channels not in (1, 3):
        raise ValueError(f"expected images of 1 or 3 channels, got {channels}")
    values = np.clip((rendered - low) / (1 - low), 0, 1)
    pixels = np.nan_to_num(255 * np.broadcast_to(values, (count, rows, cols, 3))).round()
    times, gap, line = max(1, side // max(rows, cols)), 8, 16
    width, height = times * cols, times * rows
    columns = min(columns, count)
    across, down = width + gap, height + line + gap
    whole = (columns * across + gap, -(-count // columns) * down + gap)
    out = PIL.Image.new("RGB", whole, "white")
    draw, font = PIL.ImageDraw.Draw(out), PIL.ImageFont.load_default(12)
    for i, (array, caption) in enumerate(zip(pixels.astype(np.uint8), captions, strict=True)):
        x, y = gap + i % columns * across, gap + i // columns * down
        image = PIL.Image.fromarray(array).resize((width, height), PIL.Image.Resampling.NEAREST)
        out.paste(image, (x, y))
        text = printable(caption)
        while text and font.getlength(text) > width:
            text = text[:-1]
        draw.text((x + (width - font.getlength(text)) / 2, y + height + 1), text, "#1d2125", font)
    stream = io.BytesIO()
    out.save(stream, "PNG")
    return stream.getvalue()
