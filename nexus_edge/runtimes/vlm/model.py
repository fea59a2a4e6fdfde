"""A vision-language model that runs: prompt and images in, text out piece by piece."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Unpack

from nexus_edge._arguments import require_kind, require_text
from nexus_edge.errors import PromptError
from nexus_edge.interfaces.engine import Engine
from nexus_edge.interfaces.host import VlmHost
from nexus_edge.processing import Processor
from nexus_edge.processing.images import ImageInput
from nexus_edge.processing.messages import ImagePart, TextPart
from nexus_edge.processing.segments import Prompt
from nexus_edge.processing.sources import as_images
from nexus_edge.runtimes.process import OfOneProcess
from nexus_edge.runtimes.vlm.answer import Answer
from nexus_edge.runtimes.vlm.answer_stream import AnswerStream, Draft, Watcher
from nexus_edge.runtimes.vlm.answering import Answering
from nexus_edge.runtimes.vlm.async_stream import AsyncAnswerStream
from nexus_edge.runtimes.vlm.chat import ChatSession
from nexus_edge.runtimes.vlm.context import Context
from nexus_edge.runtimes.vlm.context_pool import ContextPool
from nexus_edge.runtimes.vlm.generation import GenerationKeywords, GenerationOptions, RunStats
from nexus_edge.runtimes.vlm.image_cache import ImageCache


@dataclass(frozen=True)
class ModelLimits:
    """Lengths in tokens: most of a prompt and its answer together."""

    context_length: int


class VLM(OfOneProcess):
    """A model that any number of threads may ask at the same time, and any number of tasks of an event loop.

    The weights are there once. Answers that are made at the same time have a KV cache each, up to
    `EngineOptions.sessions` of them; more wait for their turn, and no answer waits for one whose pieces nobody takes. A
    prompt reuses what it shares with what a free cache holds. Whatever ends an answer early, later ones are right.

    A cache takes memory for each token that was in it (Phi-3-Vision: 0.79 MB in ONNX Runtime, 0.2 MB in OpenVINO), and
    gives it back when the model is closed.

        with nexus_edge.load_vlm("out/phi3-vision-int4") as model:
            print(model.answer("What is shown?", images=["scan.png"]).text)
    """

    def __init__(
        self, engine: Engine, host: VlmHost, processor: Processor, limits: ModelLimits, sessions: int = 1
    ) -> None:
        self.engine, self.host = engine, host
        self.processor = processor
        self.limits = limits
        self._owns_engine = True
        contexts = ContextPool(lambda: Context(engine.decoder(), host), sessions)
        self._answering = Answering(processor, host, ImageCache(engine, host), contexts, limits.context_length)
        self._last = threading.local()

    @property
    def last_run(self) -> RunStats | None:
        """Counts and times of the newest answer that the calling thread asked for; `AnswerStream.run` has any one's."""
        run: RunStats | None = getattr(self._last, "run", None)
        return run

    def generate(
        self,
        prompt: str,
        images: ImageInput | Sequence[ImageInput] = (),
        *,
        raw: bool | None = None,
        cancel: threading.Event | None = None,
        **options: Unpack[GenerationKeywords],
    ) -> AnswerStream:
        """The answer to a prompt, in pieces of whole characters.

        Args:
            prompt: a question, which is put into the chat template after its images. It is text throughout: a control
                token or a tag in it is read as the characters that it is written with.
            images: one or several of what `ImageInput` allows: image 1, 2, ...
            raw: the prompt is a whole one, with its control tokens and image tags. False says that it is a
                question even if it looks like a whole prompt, which is refused where neither is said.
            cancel: ends the answer early once it is set, see `AnswerStream.cancel`
            options: see `GenerationOptions`

        Raises:
            PromptError: prompt and images do not fit together, or not into the context
            ImageError: an image cannot be read
            InputError: an argument or option is unknown, of another type or out of range, or the model is closed
        """
        require_text("prompt", prompt)
        if raw is not None:
            require_kind("raw", raw, bool, "True, False or None")
        given = as_images(images)
        return self.stream(self.wrap(prompt, len(given), raw), given, GenerationOptions.of(options), cancel)

    def answer(
        self,
        prompt: str,
        images: ImageInput | Sequence[ImageInput] = (),
        *,
        raw: bool | None = None,
        cancel: threading.Event | None = None,
        **options: Unpack[GenerationKeywords],
    ) -> Answer:
        """The whole answer to a prompt; see `generate`."""
        return self.generate(prompt, images, raw=raw, cancel=cancel, **options).finish()

    def agenerate(
        self,
        prompt: str,
        images: ImageInput | Sequence[ImageInput] = (),
        *,
        raw: bool | None = None,
        **options: Unpack[GenerationKeywords],
    ) -> AsyncAnswerStream:
        """As `generate`, for `async for`: the event loop goes on, and a task that is cancelled ends the answer."""
        return AsyncAnswerStream(lambda: self.generate(prompt, images, raw=raw, **options))

    async def aanswer(
        self,
        prompt: str,
        images: ImageInput | Sequence[ImageInput] = (),
        *,
        raw: bool | None = None,
        **options: Unpack[GenerationKeywords],
    ) -> Answer:
        """The whole answer to a prompt; see `agenerate`."""
        return await self.agenerate(prompt, images, raw=raw, **options).finish()

    def chat(self, options: GenerationOptions | None = None, system: str | None = None) -> ChatSession:
        """A conversation of several turns; `system` is an instruction put before them."""
        require_kind("options", options, (GenerationOptions, type(None)), "GenerationOptions")
        if system is not None:
            require_text("system", system)
        return ChatSession(self, options or GenerationOptions(), system)

    def session(self) -> "VLM":
        """The same model with a KV cache that no other answers get: weights and encoded images are shared.

        Worth its memory for a conversation that must not find its cache overwritten between two turns. Closing it gives
        the cache back and nothing else. Raises InputError if the model is closed.
        """
        self._answering.contexts.require_open()
        session = VLM(self.engine, self.host, self.processor, self.limits)
        session._owns_engine = False
        session._answering = replace(session._answering, images=self._answering.images)
        return session

    def close(self) -> None:
        """Give memory back. Steps that run are not disturbed; whatever is asked after that is an InputError."""
        self._answering.contexts.close()
        if self._owns_engine:
            self._answering.images.clear()
            self.engine.close()

    def __enter__(self) -> "VLM":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def wrap(self, prompt: str, num_images: int, raw: bool | None = None) -> str | Prompt:
        """The prompt in the chat template after its images, or as it is; see `generate`. Raises PromptError."""
        if raw:
            return prompt
        if raw is None and isinstance(prompt, str) and self.processor.is_whole_prompt(prompt):
            raise PromptError(
                f"the prompt begins with a role's token or has {self.processor.image_tag} tags; raw=True (--raw) takes "
                "it as a whole prompt, raw=False (--no-raw) as a question in which they are text"
            )
        tags = [ImagePart(type="image")] * num_images
        content: list[TextPart | ImagePart] = [*tags, TextPart(type="text", text=prompt)]
        return self.processor.apply_chat_template([{"role": "user", "content": content}])

    def stream(
        self,
        prompt: str | Prompt,
        images: Sequence[ImageInput],
        options: GenerationOptions,
        cancel: threading.Event | None = None,
        watcher: Watcher | None = None,
    ) -> AnswerStream:
        """Like `generate`, for a prompt that is complete already; `watcher` is told when the answer begins and ends."""
        started = time.perf_counter()
        asked = self.host.prompt(self.processor(prompt, list(images)))
        tokens = len(asked.ids)
        if tokens >= self.limits.context_length:
            raise PromptError(
                f"the prompt has {tokens} tokens with its images, the model's context {self.limits.context_length}, "
                "and the answer needs room; shorten the prompt or use fewer images"
            )
        run = RunStats(tokens, int(asked.is_image.sum()), prepare_s=time.perf_counter() - started)
        self._last.run = run
        draft = Draft(run, cancel, watcher)
        return AnswerStream(draft, self._answering.pieces(draft, asked, options))
