"""Train the embedded checkpoint: first the tower on patch labels, then everything on questions and answers.

One process per core, gradients averaged once per step over gloo: on a busy machine this loses less than threads inside
one process, which wait for each other in every operator.

Run: python training/phi3_v_tiny/train.py --out out/tiny --minutes 80
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from batches import BLOCKS, Batch, make_batch
from losses import Weights, Words, naming_loss, patch_loss, pointing_loss
from model import Phi3VTrainer, Sizes
from scenes import CELLS, COLORS, KINDS, ROWS
from tokenizer import train_tokenizer
from torch import Tensor, nn
from torch.nn import functional

ROPE = {
    "short_factor": [round(1.05 + 0.09 * i, 4) for i in range(16)],
    "long_factor": [round(1.05 + 0.2 * i, 4) for i in range(16)],
    "original": 1024,
    "max": 4096,
}
CHAT_TOKENS = 6
VOCAB = 640  # a multiple of 64 at or above the tokenizer's length


def initialise(net: Phi3VTrainer) -> None:
    """Small normal weights; the tower's position table starts as 2-D sines, which is worth thousands of pictures."""
    for name, p in net.named_parameters():
        if p.dim() >= 2 and "GN" not in name and "position" not in name:
            nn.init.normal_(p, std=0.02 if "embed_tokens" in name or "lm_head" in name else p[0].numel() ** -0.5)
        if name.endswith(("out_proj.weight", "fc2.weight", "o_proj.weight", "down_proj.weight")):
            p.data.mul_(0.3)
    table = net.model.vision_embed_tokens.img_processor.vision_model.embeddings.position_embedding.weight
    quarter = table.shape[1] // 4
    freq = torch.logspace(0, -1.6, quarter)
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    parts = [f(axis.reshape(-1, 1) * freq * 0.8) for axis in (y, x) for f in (torch.sin, torch.cos)]
    table.data[1:] = torch.cat(parts, 1) * 0.5
    table.data[0] = 0


def optimizers(net: nn.Module, heads: nn.ModuleList) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for tables, vectors, patches and heads."""
    muon = [p for n, p in net.named_parameters() if p.dim() == 2 and ("layers" in n or "img_projection" in n)]
    chosen = {id(p) for p in muon}
    rest = [p for p in (*net.parameters(), *heads.parameters()) if id(p) not in chosen]
    return [
        torch.optim.Muon(muon, lr=1.0, weight_decay=0.0, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=1.0, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def average_gradients(params: list[nn.Parameter], world: int) -> float:
    """All-reduce in one flat buffer, then clip to norm 1. Returns the norm before clipping."""
    used = [p for p in params if p.grad is not None]
    flat = torch.cat([p.grad.flatten() for p in used])
    if world > 1:
        dist.all_reduce(flat)
        flat /= world
    norm = flat.norm().item()
    flat *= min(1.0, 1.0 / (norm + 1e-6))
    for p, g in zip(used, flat.split([p.numel() for p in used]), strict=True):
        p.grad.copy_(g.view_as(p))
    return norm


def rate(done: float, step: int) -> float:
    """Warm-up, constant, then linear to zero over the last 45 % of the time."""
    return min(1.0, (step + 1) / 60) * min(1.0, max(0.0, (1 - done) / 0.45))


@dataclass
class Learner:
    """Everything that changes while training: the model, the patch heads, their optimizers, the mean of the weights."""

    net: Phi3VTrainer
    heads: nn.ModuleList
    opts: list[torch.optim.Optimizer]
    mean: dict[str, Tensor]
    answers_too: bool = False  # False: only the tower learns
    step: int = 0
    log: dict[str, float] = field(default_factory=dict)

    @classmethod
    def fresh(cls) -> "Learner":
        net = Phi3VTrainer(Sizes(vocab=VOCAB), ROPE)
        initialise(net)
        width = net.sizes.vision_hidden
        heads = nn.ModuleList(nn.Linear(width, 1 + n) for n in (len(KINDS), len(COLORS), len(CELLS) + len(ROWS)))
        return cls(net, heads, optimizers(net, heads), {k: v.clone() for k, v in net.state_dict().items()})

    def state(self) -> dict[str, Any]:
        """For `torch.save`."""
        opts = [opt.state_dict() for opt in self.opts]
        return {"net": self.net.state_dict(), "heads": self.heads.state_dict(), "opts": opts, "mean": self.mean}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, in the phase with questions."""
        self.net.load_state_dict(state["net"])
        self.heads.load_state_dict(state["heads"])
        for opt, kept in zip(self.opts, state["opts"], strict=True):
            opt.load_state_dict(kept)
        self.mean, self.answers_too = state["mean"], True

    def note(self, **values: float) -> None:
        """Running means for the log."""
        for name, value in values.items():
            self.log[name] = 0.95 * self.log.get(name, value) + 0.05 * value

    def loss(self, batch: Batch, words: Words, weights: Weights) -> Tensor:
        """The sum of all that is taught on one batch."""
        patches = self.net.model.vision_embed_tokens.img_processor.vision_model(batch.pixels, batch.keep)
        patch, right = patch_loss(self.heads, patches, batch.labels)
        self.note(patch=patch.item(), patches_right=right)
        if not self.answers_too:
            return patch
        wanted = batch.targets >= 0
        image = self.net.image_features(patches, batch.keep)
        hidden, watched = self.net.decode(batch.ids, image, batch.positions, batch.mask)
        logits, answers, share = self.net.logits(hidden[wanted]).float(), batch.targets[wanted], batch.weights[wanted]
        answer = (functional.cross_entropy(logits, answers, reduction="none") * share).sum() / share.sum()
        naming = naming_loss(self.net, words.labels, patches, batch.labels)
        pointing = pointing_loss(watched, words.asked, batch)
        self.note(answer=answer.item(), naming=naming.item(), pointing=pointing.item())
        self.note(tokens_right=(logits.argmax(1) == answers).float().mean().item())
        return answer + weights.naming * naming + weights.pointing * pointing + weights.patch * patch

    def update(self, factor: float, args: argparse.Namespace) -> None:
        """One step of both optimizers on the averaged gradients."""
        params = [*self.net.parameters(), *self.heads.parameters()]
        self.note(gradient=average_gradients(params, args.processes))
        for opt, peak in zip(self.opts, (args.muon, args.adam), strict=True):
            opt.param_groups[0]["lr"] = factor * peak
            opt.step()
        for p in params:
            p.grad = None
        self.step += 1
        decay = min(0.995, self.step / (self.step + 20))
        for key, value in self.net.state_dict().items():
            self.mean[key].lerp_(value, 1 - decay)


def train(rank: int, args: argparse.Namespace) -> None:
    """The loop of one process; its pictures are every `processes`-th seed."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if args.processes > 1:
        dist.init_process_group("gloo", f"tcp://127.0.0.1:{args.port}", rank=rank, world_size=args.processes)
    tokenizer = train_tokenizer(VOCAB - CHAT_TOKENS)
    words, learner = Words.of(tokenizer), Learner.fresh()
    if args.resume:
        learner.resume(torch.load(args.resume))
    seed, begun = rank + args.first_seed, time.time()
    saved = logged = begun
    while True:
        now = torch.tensor([time.time() - begun, learner.log.get("patches_right", 0.0)])
        if args.processes > 1:
            dist.broadcast(now, 0)  # the processes must agree on rate, phase and end
        done = now[0].item() / (60 * args.minutes)
        if done >= 1:
            break
        learner.answers_too = learner.answers_too or now[1].item() > 0.95 or done > args.tower_share
        count = args.micro if learner.answers_too else 2 * args.micro
        seeds = [seed + i * args.processes for i in range(count)]
        seed += count * args.processes
        kept = BLOCKS if done > args.full_from else args.kept
        batch = make_batch(tokenizer, seeds, args.questions if learner.answers_too else 0, kept)
        with torch.autocast("cpu", torch.bfloat16):
            loss = learner.loss(batch, words, Weights(args.naming, args.pointing, 0.5 if done < 0.6 else 0.1))
        loss.backward()
        learner.update(rate(done, learner.step), args)
        if rank == 0 and time.time() - logged > 10:
            logged = time.time()
            shown = {name: round(value, 4) for name, value in learner.log.items()}
            print(f"{logged - begun:.0f} s, step {learner.step}, {seed - args.first_seed} pictures", shown, flush=True)
        if rank == 0 and time.time() - saved > args.save_every:
            saved = time.time()
            keep(args.out, learner, seed - args.first_seed, saved - begun)
    if rank == 0:
        keep(args.out, learner, seed - args.first_seed, time.time() - begun)


def keep(out: Path, learner: Learner, pictures: int, seconds: float) -> None:
    """Write the running state; a rename makes it whole for readers."""
    out.mkdir(parents=True, exist_ok=True)
    torch.save(learner.state(), out / "state.pt.part")
    (out / "state.pt.part").rename(out / "state.pt")
    facts = {"steps": learner.step, "pictures": pictures, "seconds": round(seconds), "sizes": asdict(learner.net.sizes)}
    (out / "run.json").write_text(json.dumps(facts, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=80.0)
    parser.add_argument("--tower-share", type=float, default=0.2, help="at most this share of the time is tower only")
    parser.add_argument(
        "--full-from", type=float, default=0.8, help="from this share of the time on, nothing is left out"
    )
    parser.add_argument("--kept", type=int, default=64, help="blocks of 2 x 2 patches looked at before that, of 144")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rank", type=int, help="run only this process, for a launcher that starts the others")
    parser.add_argument("--micro", type=int, default=4, help="pictures per forward pass and process")
    parser.add_argument("--questions", type=int, default=12, help="questions per picture")
    parser.add_argument("--muon", type=float, default=3e-3)
    parser.add_argument("--adam", type=float, default=2e-3)
    parser.add_argument("--naming", type=float, default=0.5, help="weight of the loss that aligns items with words")
    parser.add_argument("--pointing", type=float, default=0.4, help="weight of the loss that teaches where to look")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--save-every", type=float, default=120.0, help="seconds")
    parser.add_argument("--port", type=int, default=29511)
    args = parser.parse_args()
    if args.rank is not None:
        train(args.rank, args)
    else:
        torch.multiprocessing.spawn(train, (args,), nprocs=args.processes)


if __name__ == "__main__":
    main()
