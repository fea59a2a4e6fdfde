"""The strings of a source file that are values and no documentation."""

import io
import tokenize
from pathlib import Path


def strings(path: Path) -> list[str]:
    """Strings that are values: those that begin a statement are docstrings."""
    found, begins = [], True
    for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline):
        if token.type in (tokenize.NL, tokenize.COMMENT):  # also inside brackets, where no statement begins
            continue
        if token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            begins = True
            continue
        if token.type == tokenize.STRING and not begins:
            found.append(token.string)
        begins = False
    return found
