"""How an answer is asked for, and what can be said about it afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from nexus_edge._arguments import require_number, require_texts, require_whole
from nexus_edge._typed import suggest
from nexus_edge.errors import InputError
from nexus_edge.runtimes.vlm.sampling import Sampler
from nexus_edge.runtimes.vlm.stop_strings import StopStrings

Finish = Literal["stop", "length", "context", "cancelled", "interrupted"]


class GenerationKeywords(TypedDict, total=False):
    """The attributes of `GenerationOptions` as keywords."""

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    stop: str | Sequence[str]
    top_k: int
    min_p: float
    repetition_penalty: float
    logprobs: int | None


@dataclass(frozen=True)
class GenerationOptions:
    """How an answer is generated; `nexus_edge.runtimes.vlm.sampling` has the definitions and the order of what samples.

    Attributes:
        max_new_tokens: most tokens of the answer
        temperature: 0 always takes the likeliest token; higher values draw, the higher the more freely
        top_p: draw among the likeliest tokens that together have this probability
        seed: of the draws; None takes a new one each time
        stop: texts that end the answer and are not part of it, or one such text
        top_k: draw among this many of the likeliest tokens; 0 among all
        min_p: draw among tokens that are at least this probable, as a share of the likeliest one's probability
        repetition_penalty: above 1 makes tokens of the prompt and of the answer so far less likely, below 1 more
        logprobs: 0 keeps the log probability of each token of the answer, N that of the N likeliest beside it; None
            keeps none
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: str | Sequence[str] = ()
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    logprobs: int | None = None

    def __post_init__(self) -> None:
        """Raises InputError for a value of another type, or out of range."""
        for name in ("max_new_tokens", "top_k"):
            require_whole(name, getattr(self, name))
        for name in ("seed", "logprobs"):
            if getattr(self, name) is not None:
                require_whole(name, getattr(self, name))
        for name in ("temperature", "top_p", "min_p", "repetition_penalty"):
            require_number(name, getattr(self, name))
        if not isinstance(self.stop, str):
            require_texts("stop", self.stop)
        if self.max_new_tokens < 1:
            raise InputError(f"max_new_tokens is {self.max_new_tokens}; it must be 1 or more")
        if self.logprobs is not None and self.logprobs < 0:
            raise InputError(f"logprobs is {self.logprobs}; it must be 0 or more, or None")
        object.__setattr__(self, "stop", (self.stop,) if isinstance(self.stop, str) else tuple(self.stop))
        self.sampler()
        StopStrings(self.stop)

    @classmethod
    def of(cls, keywords: GenerationKeywords) -> "GenerationOptions":
        """From keywords; raises InputError for one that is unknown or out of range."""
        unknown = keywords.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            name = min(unknown)
            raise InputError(f"no option {name!r}{suggest(name, cls.__dataclass_fields__)}; see GenerationOptions")
        return cls(**keywords)

    @property
    def without_effect(self) -> tuple[str, ...]:
        """Options of drawing that are set although the temperature of 0 draws nothing."""
        if self.temperature > 0:
            return ()
        known = self.__dataclass_fields__
        return tuple(name for name in ("top_p", "seed", "top_k", "min_p") if getattr(self, name) != known[name].default)

    def sampler(self) -> Sampler:
        """A sampler in its first state."""
        return Sampler(
            self.temperature,
            self.top_p,
            self.seed,
            top_k=self.top_k,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
        )


@dataclass
class RunStats:
    """Counts and times (seconds) of one answer, which grow with it.

    Attributes:
        prompt_tokens: with those of images, of which there are `image_tokens`
        reused_tokens: of the prompt, taken from the cache
        new_tokens: of the answer, without the token that ended it
        prepare_s: tokenizer, and images to pixels
        wait_s: until other answers let go of a cache
        vision_s: vision encoder; 0 when the features were kept
        prefill_s: the rest of the prompt through the decoder
        decode_s: all decode steps; the first new token needs none
        decode_steps: how many those were
        finish: "stop" at a stop token or text, "length" at max_new_tokens, "context" when the model's context was full,
            "cancelled" when it was cancelled, "interrupted" while it grows, and when nobody took the rest
    """

    prompt_tokens: int
    image_tokens: int
    reused_tokens: int = 0
    new_tokens: int = 0
    prepare_s: float = 0.0
    wait_s: float = 0.0
    vision_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    decode_steps: int = 0
    finish: Finish = "interrupted"

    @property
    def first_token_s(self) -> float:
        """Time to the first token."""
        return self.prepare_s + self.wait_s + self.vision_s + self.prefill_s

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
