"""Counts the pixels that the first image of a GIF has data for; Pillow shows colour 0 where they end.

Source: GIF89a (CompuServe, 1990), sections 18 to 27 and appendix F: codes of growing width, in blocks of 255 bytes.
"""

IMAGE, EXTENSION = 0x2C, 0x21
COLOUR_TABLE = 0x80  # bit of a packed field; the lowest three bits say how long it is
WIDEST = 12  # bits of a code


def has_all_pixels(data: bytes) -> bool:
    """Whether the first image has data for all of its pixels; its colours are not looked at."""
    place = 13 + _table_bytes(data[10])
    while place < len(data) and data[place] == EXTENSION:
        place = _blocks(data, place + 2)[1]
    if data[place : place + 1] != bytes([IMAGE]) or len(data) < place + 11:
        return False
    width, height = (int.from_bytes(data[place + at : place + at + 2], "little") for at in (5, 7))
    place += 10 + _table_bytes(data[place + 9])
    return place < len(data) and _pixels(_blocks(data, place + 1)[0], data[place], width * height) >= width * height


def _table_bytes(packed: int) -> int:
    return 3 * 2 ** ((packed & 7) + 1) if packed & COLOUR_TABLE else 0


def _blocks(data: bytes, place: int) -> tuple[bytes, int]:
    """The content of the blocks that begin at `place`, up to an empty one, and the place after them."""
    content = bytearray()
    while place < len(data) and data[place]:
        content += data[place + 1 : place + 1 + data[place]]
        place += 1 + data[place]
    return bytes(content), place + 1


def _pixels(codes: bytes, first_width: int, enough: int) -> int:
    """How many pixels the codes stand for, counted up to `enough`: of each, only its length has to be known."""
    clear, end = 1 << first_width, (1 << first_width) + 1
    lengths, width, before, found = [1] * (end + 1), first_width + 1, 0, 0
    bits = held = 0
    for byte in codes:
        bits |= byte << held
        held += 8
        while held >= width:
            code = bits & ((1 << width) - 1)
            bits >>= width
            held -= width
            if code == end or found >= enough:
                return found
            if code == clear:
                del lengths[end + 1 :]
                width, before = first_width + 1, 0
                continue
            if before and len(lengths) < 1 << WIDEST:
                lengths.append(before + 1)
                if len(lengths) == 1 << width and width < WIDEST:
                    width += 1
            if code >= len(lengths):
                return found  # damaged
            before = lengths[code]
            found += before
    return found
