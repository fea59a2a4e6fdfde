"""A checkpoint's licence, as its model card or its licence file says it."""

from pathlib import Path

import pytest

from nexus_edge.checkpoints import tiny_folder
from nexus_edge.checkpoints.license import read_license

APACHE = "                                 Apache License\n                           Version 2.0, January 2004\n"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"README.md": "---\nlanguage: en\nlicense: mit\ntags:\n- x\n---\n# A model\n"}, "mit"),
        ({"README.md": '---\r\nlicense: "Apache-2.0"  # as the code\r\n---\r\n'}, "apache-2.0"),
        ({"README.md": "---\nlicense: other\nlicense_name: my-terms\n---\n"}, "my-terms"),
        ({"README.md": "---\nlicense: other\n---\n", "LICENSE": "Our own terms."}, None),
        ({"README.md": "# license: mit\nlicense: mit\n"}, None),  # text, no front matter
        ({"README.md": "---\nlicense: mit\n---\n", "LICENSE": APACHE}, "mit"),
        ({"LICENSE": APACHE}, "apache-2.0"),
        ({"LICENSE.txt": "    MIT License\n\n    Copyright (c) Somebody\n"}, "mit"),
        ({"LICENSE": "Terms.\n" * 200 + "The MIT License is not this one."}, None),
        ({}, None),
    ],
)
def test_card_then_file(files: dict[str, str], found: str | None, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, newline="")
    assert read_license(tmp_path) == found


def test_the_embedded_checkpoints_are_mit() -> None:
    assert {read_license(tiny_folder(name)) for name in ("phi3_v", "biomedclip")} == {"mit"}


def test_no_folder_and_no_text_are_no_licence(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_bytes(b"\xff\xfe\x00" * 100)
    assert read_license(tmp_path) is None and read_license(None) is None
