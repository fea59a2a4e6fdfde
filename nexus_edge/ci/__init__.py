"""What a CI reads: one outcome of `parity`, `verify` or `compare`, in the format of whoever asks.

outcome.py      a verdict, suites of cases, and where each case stands in a repository
formats.py      the formats by name, and where their text goes (`--format`, `--output`)
marks.py        how an earlier file of each format is recognised, which alone may be replaced
junit.py sarif.py github.py gitlab.py      one format each
from_report.py  the parity ladder's report as an outcome; refusal.py: of what could not be judged

Needs the base install only.
"""
