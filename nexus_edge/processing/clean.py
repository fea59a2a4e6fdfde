"""Cleaning of a text before it is tokenised, with the same result as open_clip's `whitespace` mode."""

import html
import re

# Nothing here can be repaired or unescaped: ASCII without `&` and without control characters except the white space.
PLAIN = re.compile(r"[\t\n !-%'-~]*")


def clean_text(text: str) -> str:
    """Text with damaged characters repaired, HTML entities replaced and each run of white space made one space.

    The steps are open_clip's (`open_clip/tokenizer.py`): ftfy, which also straightens quotes and drops control
    characters, then entities twice, for captions on the web are often escaped twice.
    """
    if not PLAIN.fullmatch(text):
        import ftfy  # here, for it takes 50 ms to import and most texts do not need it

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split())
