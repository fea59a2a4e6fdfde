"""How an answer is asked for, and what can be said about it afterwards."""

from dataclasses import dataclass
from typing import Literal

from nexus_edge.errors import InputError
from nexus_edge.runtimes.sampling import Sampler
from nexus_edge.runtimes.stop_strings import StopStrings

Finish = Literal["stop", "length", "context", "interrupted"]


@dataclass(frozen=True)
class GenerationOptions:
    """How an answer is generated.

    Attributes:
        max_new_tokens: most tokens of the answer
        temperature: 0 always takes the likeliest token; higher values draw, the higher the more freely
        top_p: draw among the likeliest tokens that together have this probability
        seed: of the draws; None takes a new one each time
        stop: texts that end the answer and are not part of it
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises InputError for a value out of range."""
        if self.max_new_tokens < 1:
            raise InputError(f"max_new_tokens is {self.max_new_tokens}; it must be 1 or more")
        self.sampler()
        StopStrings(self.stop)

    def sampler(self) -> Sampler:
        """A sampler in its first state."""
        return Sampler(self.temperature, self.top_p, self.seed)


@dataclass
class RunStats:
    """Counts and times (seconds) of one answer, which grow with it.

    Attributes:
        prompt_tokens: with those of pictures, of which there are `image_tokens`
        reused_tokens: of the prompt, taken from the cache
        new_tokens: of the answer, without the token that ended it
        prepare_s: tokenizer, and pictures to pixels
        vision_s: vision encoder; 0 when the features were kept
        prefill_s: the rest of the prompt through the decoder
        decode_s: all decode steps; the first new token needs none
        decode_steps: how many those were
        finish: "stop" at a stop token or text, "length" at max_new_tokens, "context" when the model's context was full,
            "interrupted" while it grows, and when nobody took the rest
    """

    prompt_tokens: int
    image_tokens: int
    reused_tokens: int = 0
    new_tokens: int = 0
    prepare_s: float = 0.0
    vision_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    decode_steps: int = 0
    finish: Finish = "interrupted"

    @property
    def first_token_s(self) -> float:
        """Time to the first token."""
        return self.prepare_s + self.vision_s + self.prefill_s

    @property
    def prefill_tokens_per_s(self) -> float:
        """Prompt tokens that were computed, per second."""
        return _rate(self.prompt_tokens - self.reused_tokens, self.prefill_s)

    @property
    def decode_tokens_per_s(self) -> float:
        """Decode steps per second."""
        return _rate(self.decode_steps, self.decode_s)


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0
