"""Train the embedded checkpoint contrastively on views of blood smears and sentences about them.

A caption counts against a view only where it is wrong about it. Beside that, the patch tokens learn which cells they
lie on, from the boxes, and the class token where in the view cells are; these heads are not part of the checkpoint.

Run: python training/biomedclip_tiny/train.py --data DIR --out out/biomedclip_tiny
DIR holds labels.csv and pictures/, as `pictures.py` reads them. Started again, it goes on where it stopped.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from batches import Batch, make_batch
from model import Sizes, Trainer
from pictures import smears
from tokenizer import make_tokenizer
from torch import Tensor, nn
from torch.nn import functional

MAX_SCALE = 100.0  # of the logits, as in CLIP
PATCH_WEIGHT, PLACE_WEIGHT = 0.5, 1.0
COARSE = 4  # the class token's head says what is where on a grid of COARSE x COARSE
RARE = torch.tensor([2.0, 1.0, 6.0])  # weight of a patch on a white cell, red cell, platelet


def initialise(net: Trainer) -> None:
    """Normal weights by fan-in, branches small; positions of patches start as 2-D sines."""
    for name, p in net.named_parameters():
        if p.dim() >= 2 and name != "visual.trunk.pos_embed":
            nn.init.normal_(p, std=0.02 if "embeddings" in name or "cls_token" in name else p[0].numel() ** -0.5)
        elif name.endswith("bias"):
            nn.init.zeros_(p)
        if name.endswith(("attn.proj.weight", "fc2.weight")):
            p.data.mul_(0.3)
    table, grid = net.visual.trunk.pos_embed, net.sizes.image // net.sizes.patch
    wave = torch.logspace(0, -1.6, table.shape[2] // 4)
    y, x = torch.meshgrid(torch.arange(float(grid)), torch.arange(float(grid)), indexing="ij")
    parts = [f(axis.reshape(-1, 1) * wave) for axis in (y, x) for f in (torch.sin, torch.cos)]
    table.data[0, 1:] = 0.5 * torch.cat(parts, 1)


def optimizers(net: nn.Module, heads: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for tables, vectors, patches, projections and the heads."""
    muon = [p for n, p in net.named_parameters() if p.dim() == 2 and ("blocks" in n or "encoder" in n)]
    chosen = {id(p) for p in muon}
    rest = [p for p in (*net.parameters(), *heads.parameters()) if id(p) not in chosen]
    return [
        torch.optim.Muon(muon, lr=1.0, weight_decay=0.02, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=1.0, betas=(0.9, 0.98), weight_decay=0.02),
    ]


def contrastive_loss(image: Tensor, text: Tensor, false: Tensor, scale: Tensor) -> tuple[Tensor, float]:
    """Symmetric cross entropy over own pairs and wrong ones; also the share of views that find their sentence.

    image, text [n, embed] normalised; false bool [n, n]. Pairs that are right without being one's own do not count.
    """
    own = torch.eye(len(image), dtype=torch.bool)
    logits = (scale * image @ text.T).masked_fill(~(false | own), float("-inf"))
    target = torch.arange(len(image))
    loss = (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
    return loss, (logits.argmax(1) == target).float().mean().item()


def cover_loss(said: Tensor, cover: Tensor) -> Tensor:
    """Mean binary cross entropy, rare cells weighted up; both [..., 3]: white, red, platelet."""
    loss = functional.binary_cross_entropy_with_logits(said.float(), cover, reduction="none")
    return (loss * (0.3 + cover * RARE)).mean()


def coarse(cover: Tensor) -> Tensor:
    """[n, patches, 3] -> [n, COARSE * COARSE, 3], means of squares of patches"""
    grid = round(cover.shape[1] ** 0.5)
    part = grid // COARSE
    return cover.unflatten(1, (COARSE, part, COARSE, part)).mean((2, 4)).flatten(1, 2)


def rate(done: float, step: int) -> float:
    """Warm-up, constant, then linear to zero over the last half."""
    return min(1.0, (step + 1) / 60) * min(1.0, (1 - done) / 0.5)


@dataclass
class Learner:
    """Everything that changes while training; `mean` is the running mean of the weights."""

    net: Trainer
    heads: nn.ModuleDict
    opts: list[torch.optim.Optimizer]
    mean: dict[str, Tensor]
    step: int = 0
    seconds: float = 0.0  # of processor time
    log: dict[str, float] = field(default_factory=dict)

    @classmethod
    def fresh(cls, sizes: Sizes) -> "Learner":
        torch.manual_seed(0)
        net = Trainer(sizes)
        initialise(net)
        outputs = {"patch": 3, "place": 3 * COARSE**2}
        heads = nn.ModuleDict({name: nn.Linear(sizes.width, n) for name, n in outputs.items()})
        return cls(net, heads, optimizers(net, heads), {k: v.clone() for k, v in net.state_dict().items()})

    def state(self) -> dict[str, Any]:
        """For `torch.save`."""
        return {
            "net": self.net.state_dict(), "heads": self.heads.state_dict(), "opts": [o.state_dict() for o in self.opts],
            "mean": self.mean, "step": self.step, "seconds": self.seconds, "sizes": asdict(self.net.sizes),
        }  # fmt: skip

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.net.load_state_dict(state["net"])
        self.heads.load_state_dict(state["heads"])
        for opt, kept in zip(self.opts, state["opts"], strict=True):
            opt.load_state_dict(kept)
        self.mean, self.step, self.seconds = state["mean"], state["step"], state["seconds"]

    def learn(self, batch: Batch, factor: float, args: argparse.Namespace) -> None:
        """One step."""
        with torch.autocast("cpu", torch.bfloat16):
            image, tokens = self.net.image(batch.pixels)
            patch = cover_loss(self.heads["patch"](tokens[:, 1:]), batch.cover)
            place = cover_loss(self.heads["place"](tokens[:, 0]).unflatten(1, (-1, 3)), coarse(batch.cover))
            text = self.net.sentence(batch.ids)
        loss, found = contrastive_loss(image, text, batch.false, self.net.logit_scale.exp())
        (loss + PATCH_WEIGHT * patch + PLACE_WEIGHT * place).backward()
        params = [*self.net.parameters(), *self.heads.parameters()]
        norm = nn.utils.clip_grad_norm_(params, 1.0).item()
        for opt, peak in zip(self.opts, (args.muon, args.adam), strict=True):
            opt.param_groups[0]["lr"] = factor * peak
            opt.step()
            opt.zero_grad()
        self.net.logit_scale.data.clamp_(max=torch.tensor(MAX_SCALE).log().item())
        self.step += 1
        keep = min(0.995, self.step / (self.step + 20))
        for key, value in self.net.state_dict().items():
            self.mean[key].lerp_(value, 1 - keep)
        seen = {"loss": loss.item(), "found": found, "patch": patch.item(), "place": place.item(), "gradient": norm}
        for name, value in seen.items():
            self.log[name] = 0.95 * self.log.get(name, value) + 0.05 * value


def save(out: Path, learner: Learner, args: argparse.Namespace) -> None:
    """Write the running state; a rename makes it whole for readers."""
    out.mkdir(parents=True, exist_ok=True)
    torch.save(learner.state(), out / "state.pt.part")
    (out / "state.pt.part").rename(out / "state.pt")
    facts = {"steps": learner.step, "views": learner.step * args.batch, "cpu_seconds": round(learner.seconds)}
    (out / "run.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--muon", type=float, default=3e-3)
    parser.add_argument("--adam", type=float, default=1e-3)
    parser.add_argument("--save-every", type=int, default=50, help="steps")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer, pool = make_tokenizer(), list(smears(args.data, "train"))
    sizes = Sizes(tokenizer.get_vocab_size())
    learner, begun = Learner.fresh(sizes), time.process_time()
    if (args.out / "state.pt").is_file():
        learner.resume(torch.load(args.out / "state.pt"))
        begun -= learner.seconds
    while learner.step < args.steps:
        batch = make_batch(pool, tokenizer, learner.step, args.batch, sizes)
        learner.learn(batch, rate(learner.step / args.steps, learner.step), args)
        learner.seconds = time.process_time() - begun
        if learner.step % 10 == 0:
            shown = {name: round(value, 4) for name, value in learner.log.items()}
            scale = learner.net.logit_scale.exp().item()
            print(f"{learner.seconds:.0f} s, step {learner.step}", shown, f"scale {scale:.1f}", flush=True)
        if learner.step % args.save_every == 0 or learner.step == args.steps:
            save(args.out, learner, args)


if __name__ == "__main__":
    main()
