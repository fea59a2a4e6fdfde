"""Write the held-out set that travels in the wheel: pictures as PNG, and questions with answers as JSON.

Run: python training/phi3_v_tiny/heldout.py nexus_edge/assets/tiny_phi3_v/heldout
"""

import argparse
import json
from pathlib import Path

import numpy as np
from batches import HELD_OUT
from questions import QA, ask
from scenes import Scene, make_scene


def held_out(index: int, questions: int) -> tuple[Scene, list[QA]]:
    """Picture `index` of the held-out set, whose seeds are never trained on, and its questions."""
    seed = HELD_OUT + index
    return make_scene(seed), ask(make_scene(seed), np.random.default_rng([seed, 1]), questions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--questions", type=int, default=5)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for index in range(args.pictures):
        scene, qas = held_out(index, args.questions)
        scene.image.save(args.folder / f"{index:03}.png", optimize=True)
        asked = [{"kind": qa.kind, "question": qa.question, "answer": qa.answer} for qa in qas]
        entries.append({"picture": f"{index:03}.png", "questions": asked})
    (args.folder / "questions.json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    print(f"{len(entries)} pictures, {sum(len(entry['questions']) for entry in entries)} questions")


if __name__ == "__main__":
    main()
