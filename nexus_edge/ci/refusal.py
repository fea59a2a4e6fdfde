"""The outcome of a gate that could not judge: a bundle is damaged, absent or rejected, or a checkpoint is gone.

A CI that asked for a report reads it whatever happened.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from nexus_edge import __version__
from nexus_edge._text import without_controls
from nexus_edge.ci.outcome import Case, Outcome, Suite
from nexus_edge.errors import NexusEdgeError

REFUSED = "refused"


def refusal(tool: str, folder: Path, error: NexusEdgeError) -> Outcome:
    """One failed case with what the error says.

    Args:
        tool: the command
        folder: of the bundle, as the user wrote it
        error: why nothing was judged
    """
    name, sentence = without_controls(folder.name or str(folder)), without_controls(" ".join(str(error).split()))
    case = Case("bundle", (REFUSED,), "failed", sentence, REFUSED, sentence)
    lines = [f"# {tool} of {name}: {REFUSED}", "```", sentence, "```", f"Nothing was judged. nexus-edge {__version__}"]
    told = {"tool": tool, "verdict": REFUSED, "sentence": sentence, "version": __version__}
    return Outcome(
        tool=tool,
        subject=name,
        folder=str(folder),
        verdict=REFUSED,
        sentence=sentence,
        color="red",
        suites=(Suite(REFUSED, "what is judged can be opened", (case,)),),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        properties={},
        markdown="\n".join(lines) + "\n",
        json=json.dumps(told, indent=1, ensure_ascii=False) + "\n",
    )
