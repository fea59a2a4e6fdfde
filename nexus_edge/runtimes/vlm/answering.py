"""How an answer is made: steps of the decoder to tokens, tokens to text."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from nexus_edge.interfaces.host import PromptTokens, VlmHost
from nexus_edge.processing import Processor
from nexus_edge.runtimes.vlm.answer import token_logprob
from nexus_edge.runtimes.vlm.answer_stream import Cancelled, Draft
from nexus_edge.runtimes.vlm.context import Tokens
from nexus_edge.runtimes.vlm.context_pool import Claim, ContextPool
from nexus_edge.runtimes.vlm.generation import GenerationOptions
from nexus_edge.runtimes.vlm.image_cache import ImageCache
from nexus_edge.runtimes.vlm.sampling import Sampler
from nexus_edge.runtimes.vlm.stop_strings import StopStrings


@dataclass(frozen=True)
class Answering:
    """What all answers of a model or of a session share.

    Attributes:
        contexts: the caches
        context_length: most tokens of a prompt and its answer
    """

    processor: Processor
    host: VlmHost
    images: ImageCache
    contexts: ContextPool
    context_length: int

    def pieces(self, draft: Draft, prompt: PromptTokens, options: GenerationOptions) -> Iterator[str]:
        """Tokens to text, of which only whole characters and nothing of a stop string get out.

        However it ends, the cache is free for others then, and what it holds is known.
        """
        stops, decoder, claim = StopStrings(options.stop), self.processor.stream_decoder(), Claim()
        try:
            self.contexts.require_open()
            draft.begin()
            for token in self._tokens(draft, claim, prompt, options):
                if piece := stops.push(decoder.push(token)):
                    draft.text.append(piece)
                    yield piece
                if stops.stopped:
                    draft.run.finish = "stop"
                    return
            if rest := stops.push(decoder.flush()) + stops.flush():
                draft.text.append(rest)
                yield rest
        except Cancelled:
            draft.run.finish = "cancelled"
        finally:
            claim.ended = True
            draft.end()

    def _tokens(self, draft: Draft, claim: Claim, prompt: PromptTokens, options: GenerationOptions) -> Iterator[int]:
        """Ids of the answer, one for each step."""
        run, sampler = draft.run, options.sampler()
        if options.logprobs is not None:
            draft.logprobs = []
        sampler.see(prompt.ids[~prompt.is_image])
        tokens = self._prompt(draft, prompt)
        room = self.context_length - run.prompt_tokens
        while True:
            draft.check()
            token = self._step(draft, claim, tokens, sampler, options)
            if token in self.processor.stop_ids:
                run.finish = "stop"
                return
            run.new_tokens += 1
            yield token
            if run.new_tokens == options.max_new_tokens:
                run.finish = "length"
                return
            if run.new_tokens == room:
                run.finish = "context"
                return
            tokens = tokens.append(token)

    def _prompt(self, draft: Draft, prompt: PromptTokens) -> Tokens:
        """The prompt with the features of its images."""
        started = time.perf_counter()
        images = self.images.encode(prompt.images, draft.check)
        draft.run.vision_s = time.perf_counter() - started
        return Tokens.of_prompt(prompt, images, self.host.positions)

    def _step(self, draft: Draft, claim: Claim, tokens: Tokens, sampler: Sampler, options: GenerationOptions) -> int:
        """The token after `tokens`. The logits are the cache's: they are used before it goes to another answer."""
        run, asked = draft.run, time.perf_counter()
        with self.contexts.step(claim, tokens, draft.check) as context:
            started = time.perf_counter()
            logits, reused = context.load(tokens, draft.check)
            seconds = time.perf_counter() - started
            token = sampler.pick(logits)
            if draft.logprobs is not None and options.logprobs is not None and token not in self.processor.stop_ids:
                draft.logprobs.append(token_logprob(logits, token, options.logprobs, self.processor.decode))
        run.wait_s += started - asked
        if len(tokens) == run.prompt_tokens:
            run.prefill_s, run.reused_tokens = seconds, reused
        else:
            run.decode_s += seconds
            run.decode_steps += 1
        return token
