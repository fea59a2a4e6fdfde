"""A vision-language model that runs: prompt and pictures in, text out piece by piece."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nexus_edge.errors import InputError, PromptError
from nexus_edge.processing import ModelInputs, Processor
from nexus_edge.processing.images import Picture
from nexus_edge.processing.prompt import ImagePart, TextPart, is_whole_prompt
from nexus_edge.processing.segments import Prompt
from nexus_edge.processing.sources import as_pictures
from nexus_edge.runtimes.chat import ChatSession
from nexus_edge.runtimes.context import Context, Tokens
from nexus_edge.runtimes.engine import Engine, Floats
from nexus_edge.runtimes.generation import GenerationOptions, RunStats
from nexus_edge.runtimes.pictures import PictureCache
from nexus_edge.runtimes.stop_strings import StopStrings


@dataclass(frozen=True)
class ModelLimits:
    """Lengths in tokens: of the context, and up to which the short list of LongRoPE serves (None: no LongRoPE)."""

    context_length: int
    rope_limit: int | None


class VLM:
    """One model with one KV cache: answers come one after the other, and a later prompt reuses what it shares.

    Attributes:
        last_run: counts and times of the newest answer, from its first piece on; complete once its last was taken
    """

    def __init__(self, engine: Engine, processor: Processor, limits: ModelLimits) -> None:
        self.engine = engine
        self.processor = processor
        self.limits = limits
        self.last_run: RunStats | None = None
        self._context = Context(engine, limits.rope_limit)
        self._pictures = PictureCache(engine)

    def generate(
        self,
        prompt: str,
        images: Picture | Sequence[Picture] = (),
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        raw: bool | None = None,
    ) -> Iterator[str]:
        """The answer to a prompt, in pieces of whole characters.

        Args:
            prompt: a question, which is put into the chat template after its pictures. It is text throughout: a control
                token or a tag in it is read as the characters that it is written with.
            images: one or several of what `Picture` allows: image 1, 2, ...
            max_new_tokens, temperature, top_p, seed, stop: see `GenerationOptions`
            raw: the prompt is a whole one, with its control tokens and <|image_N|> tags. False says that it is a
                question even if it looks like a whole prompt, which is refused where neither is said.

        Raises:
            PromptError: prompt and pictures do not fit together, or not into the context
            ImageError: a picture cannot be read
            InputError: an option is out of range
        """
        stops = (stop,) if isinstance(stop, str) else tuple(stop)
        options = GenerationOptions(max_new_tokens, temperature, top_p, seed, stops)
        given = as_pictures(images)
        return self.answer(self.wrap(prompt, len(given), raw), given, options)

    def chat(self, options: GenerationOptions | None = None, system: str | None = None) -> ChatSession:
        """A conversation of several turns; `system` is an instruction put before them."""
        return ChatSession(self, options or GenerationOptions(), system)

    def wrap(self, prompt: str, num_images: int, raw: bool | None = None) -> str | Prompt:
        """The prompt in the chat template after its pictures, or as it is; see `generate`. Raises PromptError."""
        if raw:
            return prompt
        if raw is None and isinstance(prompt, str) and is_whole_prompt(prompt):
            raise PromptError(
                "the prompt begins with a role's token or has <|image_N|> tags; raw=True (--raw) takes it as a whole "
                "prompt, raw=False (--no-raw) as a question in which they are text"
            )
        pictures = [ImagePart(type="image")] * num_images
        content: list[TextPart | ImagePart] = [*pictures, TextPart(type="text", text=prompt)]
        return self.processor.apply_chat_template([{"role": "user", "content": content}])

    def answer(self, prompt: str | Prompt, images: Sequence[Picture], options: GenerationOptions) -> Iterator[str]:
        """Like `generate`, for a prompt that is complete already."""
        started = time.perf_counter()
        inputs = self.processor(prompt, list(images))
        tokens = inputs["input_ids"].shape[1]
        if tokens >= self.limits.context_length:
            raise PromptError(
                f"the prompt has {tokens} tokens with its pictures, the model's context {self.limits.context_length}, "
                "and the answer needs room; shorten the prompt or use fewer pictures"
            )
        image_tokens = int((inputs["input_ids"] < 0).sum())
        run = RunStats(tokens, image_tokens, prepare_s=time.perf_counter() - started)
        return self._stream(run, inputs, options)

    def _stream(self, run: RunStats, inputs: ModelInputs, options: GenerationOptions) -> Iterator[str]:
        """Tokens to text, of which only whole characters and nothing of a stop string get out."""
        stops, decoder = StopStrings(options.stop), self.processor.stream_decoder()
        for token in self._tokens(run, inputs, options):
            if piece := stops.push(decoder.push(token)):
                yield piece
            if stops.stopped:
                run.finish = "stop"
                return
        if rest := stops.push(decoder.flush()) + stops.flush():
            yield rest

    def _tokens(self, run: RunStats, inputs: ModelInputs, options: GenerationOptions) -> Iterator[int]:
        """Ids of the answer. A newer answer ends an older one, because they share the cache."""
        self.last_run = run
        sampler = options.sampler()
        room = self.limits.context_length - run.prompt_tokens
        logits = self._prefill(run, inputs)
        while True:
            token = sampler.pick(logits)
            if token in self.processor.stop_ids:
                run.finish = "stop"
                return
            run.new_tokens += 1
            yield token
            if self.last_run is not run:
                raise InputError("a newer answer was started; take all pieces of one before asking for the next")
            if run.new_tokens == options.max_new_tokens:
                run.finish = "length"
                return
            if run.new_tokens == room:
                run.finish = "context"
                return
            started = time.perf_counter()
            logits = self._context.append(token)
            run.decode_s += time.perf_counter() - started
            run.decode_steps += 1

    def _prefill(self, run: RunStats, inputs: ModelInputs) -> Floats:
        """The prompt into the cache: logits [vocab] after it."""
        started = time.perf_counter()
        pictures = []
        if "pixel_values" in inputs:
            pictures = self._pictures.encode(inputs["pixel_values"], inputs["image_sizes"])
        encoded = time.perf_counter()
        logits, run.reused_tokens = self._context.load(Tokens.of_prompt(inputs["input_ids"][0], pictures))
        run.vision_s, run.prefill_s = encoded - started, time.perf_counter() - encoded
        return logits
