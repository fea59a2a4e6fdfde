"""Exact match on held-out pictures, per kind of question.

The reference model in full precision, greedy, behind the real preprocessing.

Run: PYTHONPATH=. python training/phi3_v_tiny/evaluate.py nexus_edge/assets/tiny_phi3_v --pictures 200
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from heldout import held_out
from PIL import Image
from questions import NO_PICTURE, QA, TEXT_ONLY

from nexus_edge.layers.kv_cache import KVCache
from nexus_edge.models import from_checkpoint
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.models.phi3_v.processing import Phi3VProcessor
from nexus_edge.processing import from_checkpoint as processor_of

LONGEST = 80  # tokens; a description of seven items has 48


@torch.inference_mode()
def answers(model: Phi3V, processor: Phi3VProcessor, image: Image.Image | None, questions: Sequence[str]) -> list[str]:
    """The greedy answer to each question, up to the end of its turn; the picture's tokens are computed once."""
    tag, images = ("", []) if image is None else ("<|image_1|>\n", [image])
    said, shared = [], KVCache()
    for question in questions:
        inputs = processor(f"<|user|>\n{tag}{question}<|end|>\n<|assistant|>\n", images)
        ids = torch.from_numpy(inputs["input_ids"])
        if images and not shared.length:
            pixels = {name: torch.from_numpy(inputs[name]) for name in ("pixel_values", "image_sizes")}
            model(ids[:, : int((ids < 0).nonzero()[-1, 1]) + 1], **pixels, cache=shared)
        cache, answer = replace(shared, layers=list(shared.layers)), []
        logits = model(ids[:, shared.length :], cache=cache)
        while len(answer) < LONGEST and (token := int(logits[0, -1].argmax())) not in processor.stop_ids:
            answer.append(token)
            logits = model(torch.tensor([[token]]), cache=cache)
        said.append(processor.decode(answer).strip())
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--first", type=int, default=0, help="the first held-out picture; the wheel's set is 0 to 47")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--questions", type=int, default=5)
    parser.add_argument("--show", type=int, default=10, help="wrong answers to print")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    model, processor = from_checkpoint(args.checkpoint), processor_of(args.checkpoint)
    asked, right, shown = Counter(), Counter(), 0
    cases = [
        (scene.image, qas) for scene, qas in (held_out(args.first + i, args.questions) for i in range(args.pictures))
    ]
    alone = (*TEXT_ONLY, ("What color is the star?", NO_PICTURE), ("Where is the word?", NO_PICTURE))
    cases.append((None, [QA("no picture", *pair) for pair in alone]))
    for image, qas in cases:
        for qa, said in zip(qas, answers(model, processor, image, [qa.question for qa in qas]), strict=True):
            asked[qa.kind] += 1
            right[qa.kind] += said == qa.answer
            if said != qa.answer and shown < args.show:
                shown += 1
                print(f"{qa.kind}: {qa.question}\n  wanted {qa.answer}\n  said   {said}")
    table = {kind: {"asked": asked[kind], "right": right[kind]} for kind in sorted(asked)}
    table["all"] = {"asked": asked.total(), "right": right.total()}
    for kind, row in table.items():
        print(f"{kind:12} {row['right']:5} / {row['asked']:5}  {100 * row['right'] / row['asked']:6.2f} %")
    if args.json:
        args.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
