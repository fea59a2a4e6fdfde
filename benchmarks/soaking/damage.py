"""A file changed at random, as broken disks, broken downloads, editors and enemies change them."""

import json
from random import Random
from typing import Any

TEXTS = (b"{", b"[", b"]", b'"', b"1e999", b"-1", b"null", b"\xff\xfe", b"\x00", b"NaN", b"[" * 3000, b"../../etc/x")
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, -1e-9, 1e308, "", "x", "..", "/etc/passwd", "\n", "\ud800", "\x00",
    [], [[]], {}, {"a": 1}, [0] * 2000,
)  # fmt: skip


def damaged(data: bytes, name: str, random: Random) -> bytes:
    """Another content for a file: half of the time a JSON file stays one, with a value, key or item changed."""
    if name.endswith(".json") and random.random() < 0.5:
        try:
            return other_json(data, random)
        except ValueError:
            pass
    return other_bytes(data, random)


def other_bytes(data: bytes, random: Random) -> bytes:
    """One of: some bytes changed, a part removed, doubled or zeroed, cut off, text put in, or nothing left."""
    changed = bytearray(data)
    # Structure sits at the beginning of most formats, and at the end of some.
    near = min(len(data), random.choice((64, 512, 4096, len(data) or 1)))
    offset = random.randrange(near or 1)
    place = offset if random.random() < 0.8 else max(0, len(data) - 1 - offset)
    length = random.choice((1, 2, 8, 64, 1024))
    kind = random.randrange(20)
    if kind <= 8:
        for _ in range(random.choice((1, 1, 2, 8)) if changed else 0):
            changed[(place + random.randrange(length)) % len(changed)] = random.randrange(256)
    elif kind <= 10:
        del changed[place : place + length]
    elif kind <= 12:
        changed[place:place] = changed[place : place + length]
    elif kind <= 14:
        changed[place : place + length] = bytes(min(length, len(changed) - place))
    elif kind <= 16:
        del changed[place:]
    elif kind <= 18:
        changed[place:place] = random.choice(TEXTS)
    else:
        changed.clear()
    return bytes(changed)


def other_json(data: bytes, random: Random) -> bytes:
    """One value, key or item of a JSON file changed, removed or doubled; raises ValueError if it is none."""
    value = json.loads(data)
    places = list(_places(value))
    if not places:
        raise ValueError("nothing in it")
    holder, key = random.choice(places)
    kind = random.randrange(6)
    if kind <= 2:
        holder[key] = random.choice(VALUES)
    elif kind == 3 and isinstance(holder[key], int | float):
        holder[key] = holder[key] * random.choice((-1, 0, 2, 0.5, 1e9)) + random.choice((0, 1, -1))
    elif kind == 4 and isinstance(holder, dict):
        holder[random.choice((f"{key}_", key[:-1], key.upper(), ""))] = holder.pop(key)
    else:
        del holder[key]
    return json.dumps(value).encode()


def _places(value: Any, depth: int = 0) -> Any:
    """(holder, key) of every value in a JSON tree; of long lists the first items."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value[:20]) if isinstance(value, list) else ()
    for key, item in pairs:
        yield value, key
        if depth < 12:
            yield from _places(item, depth + 1)
