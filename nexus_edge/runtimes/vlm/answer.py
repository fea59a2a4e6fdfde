"""An answer as a whole: its text, why it ended, counts and times, and how probable its tokens were."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from nexus_edge.interfaces.engine import Floats
from nexus_edge.runtimes.vlm.generation import Finish, RunStats


@dataclass(frozen=True)
class TokenLogprob:
    """A token and how probable the model found it.

    Attributes:
        id: in the vocabulary
        text: of this token alone; a character of several tokens is only in the answer's text
        logprob: natural logarithm of its probability: the softmax of the decoder's logits, before any option
        top: the likeliest tokens at its place, the likeliest first, as many as were asked for
    """

    id: int
    text: str
    logprob: float
    top: tuple["TokenLogprob", ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a model said.

    Attributes:
        text: all of it; of an answer that was ended early, as far as it came
        run: counts and times
        logprobs: of each token, if they were asked for; the token that ended the answer is not among them
    """

    text: str
    run: RunStats
    logprobs: tuple[TokenLogprob, ...] | None = None

    @property
    def finish(self) -> Finish:
        """Why it ended, see `RunStats.finish`."""
        return self.run.finish

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, with those of its images."""
        return self.run.prompt_tokens

    @property
    def new_tokens(self) -> int:
        """Tokens of the answer."""
        return self.run.new_tokens


def token_logprob(logits: Floats, id_: int, top: int, decode: Callable[[Iterable[int]], str]) -> TokenLogprob:
    """Of the token `id_` and of the `top` likeliest, from logits [vocab]; `decode` gives the text of ids."""
    scores = logits.astype(np.float64)
    scores -= scores.max()
    scores -= np.log(np.exp(scores).sum())
    best = np.argsort(-scores, kind="stable")[:top]
    ranked = tuple(TokenLogprob(int(other), decode([int(other)]), float(scores[other])) for other in best)
    return TokenLogprob(id_, decode([id_]), float(scores[id_]), ranked)
