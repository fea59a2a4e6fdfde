"""Generated pictures: coloured shapes, a printed digit and a printed word on a 3 x 3 layout. One seed, one picture."""

from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLORS = {
    "red": (215, 35, 35),
    "green": (30, 150, 50),
    "blue": (40, 70, 215),
    "yellow": (235, 200, 20),
    "purple": (145, 45, 165),
    "black": (25, 25, 25),
}
SHAPES = ("circle", "square", "triangle", "star", "cross")
DIGITS = tuple("0123456789")
WORDS = (
    "cat",
    "dog",
    "sun",
    "map",
    "car",
    "bus",
    "key",
    "hat",
    "fish",
    "bird",
    "moon",
    "tree",
    "ship",
    "book",
    "lamp",
    "rain",
)
KINDS = (*SHAPES, *DIGITS, *WORDS)
ROWS = ("top", "middle", "bottom")
CELLS = (
    "top left", "top middle", "top right",
    "middle left", "center", "middle right",
    "bottom left", "bottom middle", "bottom right",
)  # fmt: skip
# Canvas sizes in pixels. Square ones are common; the others make the preprocessor pad with white.
CANVASES = ((336, 336), (336, 336), (336, 336), (448, 336), (336, 448), (420, 336), (240, 240), (336, 400))


@dataclass(frozen=True)
class Item:
    """Something drawn: `kind` from KINDS, `place` a cell (0-8), or a row (0-2) for a word; `box` in canvas pixels."""

    kind: str
    color: str
    place: int
    box: tuple[float, float, float, float]

    @property
    def where(self) -> str:
        return ROWS[self.place] if self.kind in WORDS else CELLS[self.place]


@dataclass(frozen=True)
class Scene:
    """A picture and what is on it, in reading order."""

    image: Image.Image
    items: tuple[Item, ...]

    @property
    def shapes(self) -> list[Item]:
        return [item for item in self.items if item.kind in SHAPES]

    def only(self, kinds: tuple[str, ...]) -> Item | None:
        """The digit or the word of the picture, if it has one."""
        return next((item for item in self.items if item.kind in kinds), None)


def make_scene(seed: int) -> Scene:
    """The picture of this seed: the same items everywhere; anti-aliased pixels can depend on Pillow's version."""
    rng = np.random.default_rng(seed)
    width, height = CANVASES[rng.integers(len(CANVASES))]
    image = _background(rng, width, height)
    draw = ImageDraw.Draw(image)
    cell_w, cell_h, free, items = width / 3, height / 3, list(range(9)), []
    if rng.random() < 0.35:
        row = int(rng.integers(3))
        free = [cell for cell in free if cell // 3 != row]
        items.append(_text(rng, draw, str(rng.choice(WORDS)), row, (0, row * cell_h, width, (row + 1) * cell_h)))
    for cell in rng.permutation(free)[: int(rng.integers(1, 6))]:
        box = (cell % 3 * cell_w, cell // 3 * cell_h, (cell % 3 + 1) * cell_w, (cell // 3 + 1) * cell_h)
        if rng.random() < 0.25 and not any(item.kind in DIGITS for item in items):
            items.append(_text(rng, draw, str(rng.choice(DIGITS)), int(cell), box))
        else:
            items.append(_shape(rng, draw, int(cell), box))
    items.sort(key=lambda item: (item.box[1] // cell_h, item.box[0]) if item.kind in WORDS else divmod(item.place, 3))
    return Scene(_noisy(rng, image), tuple(items))


def _background(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), tuple(int(v) for v in rng.integers(215, 256, 3)))


def _noisy(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """Slow shading over the picture: a plane of up to +-12 grey levels (cheap, and PNG still packs it)."""
    pixels = np.asarray(image, np.int16)
    dx, dy = rng.uniform(-12, 12, 2)
    plane = np.linspace(-dx, dx, image.width)[None, :, None] + np.linspace(-dy, dy, image.height)[:, None, None]
    return Image.fromarray(np.clip(pixels + plane.astype(np.int16), 0, 255).astype(np.uint8))


def _ink(rng: np.random.Generator) -> tuple[str, tuple[int, ...]]:
    name = str(rng.choice(list(COLORS)))
    return name, tuple(int(v) for v in np.clip(np.array(COLORS[name]) + rng.integers(-18, 19, 3), 0, 255))


def _place(rng: np.random.Generator, box: tuple[float, ...], width: float, height: float) -> tuple[float, float]:
    """A random top left corner for something of this size inside the box, 3 pixels from its border."""
    spare_x, spare_y = box[2] - box[0] - width - 6, box[3] - box[1] - height - 6
    return box[0] + 3 + rng.random() * max(spare_x, 0), box[1] + 3 + rng.random() * max(spare_y, 0)


def _shape(rng: np.random.Generator, draw: ImageDraw.ImageDraw, cell: int, box: tuple[float, ...]) -> Item:
    kind, (name, rgb) = str(rng.choice(SHAPES)), _ink(rng)
    size = rng.uniform(0.5, 0.85) * min(box[2] - box[0], box[3] - box[1])
    x, y = _place(rng, box, size, size)
    extent = (x, y, x + size, y + size)
    if kind == "circle":
        draw.ellipse(extent, rgb)
    else:
        tilt, half = rng.uniform(-0.2, 0.2), size / 2
        draw.polygon([(x + half + half * px, y + half + half * py) for px, py in _outline(kind, tilt)], rgb)
    return Item(kind, name, cell, extent)


def _outline(kind: str, tilt: float) -> list[tuple[float, float]]:
    """Corners in [-1, 1], y down, turned by `tilt` radians."""
    if kind == "square":
        points = [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]
    elif kind == "triangle":
        points = [(0, -1), (0.92, 0.75), (-0.92, 0.75)]
    elif kind == "star":
        points = [(r * sin(i * pi / 5), -r * cos(i * pi / 5)) for i, r in enumerate((1.0, 0.4) * 5)]
    else:
        a, b = 0.3, 0.95
        points = [
            (-a, -b),
            (a, -b),
            (a, -a),
            (b, -a),
            (b, a),
            (a, a),
            (a, b),
            (-a, b),
            (-a, a),
            (-b, a),
            (-b, -a),
            (-a, -a),
        ]
    return [(x * cos(tilt) - y * sin(tilt), x * sin(tilt) + y * cos(tilt)) for x, y in points]


def _text(rng: np.random.Generator, draw: ImageDraw.ImageDraw, text: str, place: int, box: tuple[float, ...]) -> Item:
    """A digit in its cell, or a word in its row, in Pillow's own font."""
    name, rgb = _ink(rng)
    font = ImageFont.load_default(size=rng.uniform(0.65, 0.95) * min(box[2] - box[0], box[3] - box[1]))
    left, top, right, bottom = draw.textbbox((0, 0), text, font)
    x, y = _place(rng, box, right - left, bottom - top)
    draw.text((x - left, y - top), text, rgb, font, stroke_width=1, stroke_fill=rgb)
    return Item(text, name, place, (x, y, x + right - left, y + bottom - top))
