"""Small pictures of simulated items, which tell what the texts leave out.

Hue and stripes of the ground stand for an item's main theme, which its text names too.  The figure
has the hue of the second theme, which half of the English texts leave out, and is larger the more
the item is about it; its shape is that of the kind.  The rim is brighter the more attractive the
item is, of which no text tells.  Place, grain and rim are noisy.

Whole numbers alone are drawn, and the files are stored without compression, so that their bytes
do not depend on a library's version.
"""

import struct
import zlib
from colorsys import hls_to_rgb
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.simulation import words
from bridgerec.data.simulation.catalogue import SimulatedItems

SIZE = 48
RIM = 4
MISSING_SHARE = 0.15  # items without a picture
PICTURED = ("films", "kitchenware")
Pixels = NDArray[np.uint8]


def add_pictures(domain: str, items: SimulatedItems, folder: Path, rng: np.random.Generator) -> int:
    """Write `folder/images/ITEM.png` for most items and their paths into `items.rows`; how many."""
    (folder / "images").mkdir(parents=True)
    kinds = {name: n for n, kind in enumerate(words.KINDS[domain]) for name in kind}
    count = 0
    for number, row in enumerate(items.rows):
        drawn = rng.integers(0, 1 << 30, 4)
        row["image"] = ""
        if rng.random() < MISSING_SHARE:
            continue
        kind = kinds[row["category"].rsplit(" > ", 1)[1]]
        row["image"] = f"images/{row['item_id']}.png"
        pixels, palette = draw(items.themes[number], kind, float(items.appeal[number]), drawn)
        (folder / row["image"]).write_bytes(png(pixels, palette))
        count += 1
    return count


def draw(
    themes: NDArray[np.float64], kind: int, appeal: float, noise: NDArray[np.integer[Any]]
) -> tuple[Pixels, list[tuple[int, int, int]]]:
    """A picture as numbers (SIZE, SIZE) of colours, and those colours.

    `themes` are the shares of an item's themes, `noise` four numbers of at least 24 bits.
    """
    main = int(themes.argmax())
    others = themes.copy()
    others[main] = 0
    second = int(others.argmax()) if others.any() else main
    share = round(1000 * float(others[second]))  # at most 300
    y, x = np.mgrid[:SIZE, :SIZE]
    pixels = _stripes(main, x, y).astype(np.uint8)
    middle = SIZE // 2 + int(noise[0] % 7) - 3, SIZE // 2 + int(noise[0] // 7 % 7) - 3
    pixels[_figure(kind, x - middle[0], y - middle[1], 5 + share // 30)] = 2
    rim = (np.minimum(x, y) < RIM) | (np.maximum(x, y) >= SIZE - RIM)
    pixels[rim] = 3
    grain = np.random.default_rng(int(noise[1])).integers(0, 100, (SIZE, SIZE))
    pixels[grain < 6] = 4
    # appeal lies between about -5.4 and -1.6, mostly near the lower end
    light = int(np.clip(400 + 200 * (appeal + 4.6) + noise[2] % 300 - 150, 50, 950))
    shade = int(noise[3] % 256)
    dark, bright, figure = _hue(main, 400), _hue(main, 520), _hue(second, 680)
    rest = (light * 255 // 1000,) * 3, (shade,) * 3
    return pixels, [dark, bright, figure, *rest]


def _stripes(theme: int, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.bool_]:
    """One of six grounds."""
    along = (x, y, x + y, x - y, x * 2 + y, np.minimum(x, y))[theme % 6]
    found: NDArray[np.bool_] = along // 6 % 2 == 0
    return found


def _figure(kind: int, x: NDArray[Any], y: NDArray[Any], radius: int) -> NDArray[np.bool_]:
    """Disc, square, rhombus, ring or cross around the origin."""
    square = x * x + y * y
    inside = (
        square <= radius * radius,
        np.maximum(abs(x), abs(y)) <= radius * 9 // 10,
        abs(x) + abs(y) <= radius * 5 // 4,
        (square <= radius * radius * 5 // 4) & (square >= radius * radius // 3),
        (np.minimum(abs(x), abs(y)) <= radius // 2) & (np.maximum(abs(x), abs(y)) <= radius),
    )
    found: NDArray[np.bool_] = inside[kind % len(inside)]
    return found


def _hue(theme: int, light: int) -> tuple[int, int, int]:
    """The colour of a theme; `light` in thousandths."""
    red, green, blue = hls_to_rgb(theme / len(words.THEMES), light / 1000, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)


def png(pixels: Pixels, palette: list[tuple[int, int, int]]) -> bytes:
    """A PNG of at most 16 colours: four bits a pixel, in one stored block."""
    height, width = pixels.shape
    packed = pixels[:, ::2] << 4 | pixels[:, 1::2]
    lines = b"".join(b"\0" + line.tobytes() for line in packed)
    block = b"\x01" + struct.pack("<HH", len(lines), len(lines) ^ 0xFFFF) + lines
    stream = b"\x78\x01" + block + struct.pack(">I", zlib.adler32(lines))
    header = struct.pack(">IIBBBBB", width, height, 4, 3, 0, 0, 0)
    colours = bytes(value for colour in palette for value in colour)
    chunks = ((b"IHDR", header), (b"PLTE", colours), (b"IDAT", stream), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
