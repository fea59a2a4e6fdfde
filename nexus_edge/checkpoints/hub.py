"""Checkpoints from the Hugging Face hub: downloaded once, resumable, never executed."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from nexus_edge.checkpoints.folder import FolderCheckpoint
from nexus_edge.checkpoints.formats import format_of
from nexus_edge.errors import CheckpointError, MissingExtraError
from nexus_edge.processing.templates.source import BESIDE

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")  # no "./folder"
# Data only: weights, configuration, tokenizer, chat template, and what names the licence; never the repository's Python
# files.
PATTERNS = ["*.json", "*.safetensors", "*vocab.txt", BESIDE, "README.md", "LICENSE*"]
ELSEWHERE = "use --checkpoint DIR for a folder you have, or --checkpoint tiny for the embedded model"


def open_cached(spec: str, ignored: Sequence[str] = ()) -> FolderCheckpoint | None:
    """What the hub's cache has of `owner/name` or `owner/name@revision`, without any connection; None if nothing.

    Raises:
        CheckpointError: no hub id, or the files are of no checkpoint.
        MissingExtraError: huggingface_hub is not installed.
    """
    name, _, revision = spec.partition("@")
    with _hub(name, revision) as hub:
        try:
            found = Path(
                hub.snapshot_download(name, revision=revision or None, allow_patterns=PATTERNS, local_files_only=True)
            )
        except hub.errors.LocalEntryNotFoundError:
            return None
    return FolderCheckpoint(found, name=name, revision=found.name, ignored=ignored)


def open_hub(spec: str, ignored: Sequence[str] = ()) -> FolderCheckpoint:
    """Download `owner/name` or `owner/name@revision` into the hub's cache, and open it without the `ignored` keys.

    Progress bars go to stderr (HF_HUB_DISABLE_PROGRESS_BARS=1 turns them off); what an earlier, interrupted call
    fetched is not fetched again; without a network the cache's copy is used. The opened commit becomes `revision`.

    Raises:
        CheckpointError: no network, no such repository or revision, or access denied.
        MissingExtraError: huggingface_hub is not installed.
    """
    name, _, revision = spec.partition("@")
    with _hub(name, revision) as hub:
        snapshot = Path(hub.snapshot_download(name, revision=revision or None, allow_patterns=PATTERNS))
        if lacking := list(format_of(snapshot).lacking(snapshot)):
            hub.snapshot_download(name, revision=snapshot.name, allow_patterns=lacking)  # of the same commit
    return FolderCheckpoint(snapshot, name=name, revision=snapshot.name, ignored=ignored)


@contextmanager
def _hub(name: str, revision: str) -> Iterator[ModuleType]:
    """huggingface_hub, and its errors as ours."""
    try:
        import huggingface_hub
        from huggingface_hub import errors

        # The base class of whatever HTTP library this version of the hub's client uses.
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]
    except ImportError as error:
        raise MissingExtraError("checkpoints of the hub need: pip install 'nexus-edge[export]'") from error
    try:
        yield huggingface_hub
    except errors.HFValidationError as error:
        raise CheckpointError(
            f"{name!r:.300}: no such folder, and not a hub id (owner/name of 96 letters, digits and -_. at most)"
        ) from error
    except errors.GatedRepoError as error:
        raise CheckpointError(f"{name}: accept its licence on huggingface.co and log in (hf auth login)") from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(f"{name}: no such repository on the hub, or it is private; {ELSEWHERE}") from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{name}: has no revision {revision!r} on the hub") from error
    except errors.LocalEntryNotFoundError as error:
        raise CheckpointError(f"{name}: the hub cannot be reached and the cache has no copy; {ELSEWHERE}") from error
    except (HTTPError, OSError, RuntimeError) as error:  # RuntimeError: of hf_xet, which moves large files
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{name}: download failed ({reason}); {ELSEWHERE}") from error
