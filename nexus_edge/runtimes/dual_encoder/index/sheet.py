"""Hits as one image: thumbnails in rows, each with its rank, its score and its name."""

import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from nexus_edge._atomic import replaced_when_done
from nexus_edge._outputs import FileKind
from nexus_edge.errors import ImageError
from nexus_edge.processing.images import load_image
from nexus_edge.runtimes.dual_encoder.index.image_index import Hit, from_index

COLUMNS, SIDE, MARGIN, LINE, FONT = 5, 220, 10, 18, 14  # pixels, but for the first
PAPER, INK, MISSING = "white", "black", "#dddddd"
SOFTWARE = "nexus-edge search"  # PNG's keyword for the program that made an image (its section 11.3.3.2)
# PNG's signature and its first chunk, IHDR, of fixed size; then the chunk with the program's name (its section 11).
_MARK = rb"\A\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR.{17}\0\0\0\x1atEXtSoftware\0" + SOFTWARE.encode()
SHEET = FileKind("a PNG sheet", (".png",), re.compile(_MARK, re.DOTALL))


def write_sheet(hits: Sequence[Hit], index: Path, out: Path) -> None:
    """Write a PNG of the images that `index` (the file) found; an image that cannot be read is a grey field.

    Raises:
        OutputError: it cannot be written
    """
    columns = min(COLUMNS, max(1, len(hits)))
    rows = max(1, -(-len(hits) // columns))
    width, height = SIDE + MARGIN, SIDE + 2 * LINE + MARGIN
    sheet = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    for position, hit in enumerate(hits):
        left, top = MARGIN + position % columns * width, MARGIN + position // columns * height
        thumbnail = _thumbnail(from_index(hit.path, index))
        sheet.paste(thumbnail, (left + (SIDE - thumbnail.width) // 2, top + SIDE - thumbnail.height))
        name = _shortened(Path(hit.path).name, font)
        draw.text((left, top + SIDE), f"{position + 1}.  {hit.score:.3f}", INK, font)
        draw.text((left, top + SIDE + LINE), name, INK, font)
    facts = PngInfo()
    facts.add_text("Software", SOFTWARE)
    with replaced_when_done(out) as temporary:
        sheet.save(temporary, "PNG", pnginfo=facts)


def _thumbnail(path: Path) -> Image.Image:
    try:
        image = load_image(path)
    except ImageError:
        return Image.new("RGB", (SIDE, SIDE), MISSING)
    image.thumbnail((SIDE, SIDE))
    return image


def _shortened(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The name in one line, with its middle left out until it is no wider than a thumbnail."""
    text = name = "".join(letter if letter.isprintable() else "?" for letter in name)
    keep = len(name)
    while font.getlength(text) > SIDE and keep > 2:
        keep -= 1
        text = f"{name[: keep // 2]}...{name[len(name) - keep // 2 :]}"
    return text
