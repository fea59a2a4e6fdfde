"""A model of two towers that runs: images and texts to embeddings, and what can be done with those."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast, overload

import numpy as np

from nexus_edge._arguments import require_kind, require_path, require_texts, require_whole
from nexus_edge._renamed import renamed_keyword
from nexus_edge.bundle import Bundle, DualEncoderInfo
from nexus_edge.engines.base import closed
from nexus_edge.engines.dual import IMAGE, TEXT, DualEngine, has_graph
from nexus_edge.errors import BundleError, ImageError, InputError
from nexus_edge.interfaces.engine import Floats
from nexus_edge.interfaces.progress import Count, uncounted
from nexus_edge.processing import DualProcessor
from nexus_edge.processing.images import ImageInput
from nexus_edge.processing.sources import as_images, is_data_uri, is_image_input
from nexus_edge.runtimes.dual_encoder.classification import Classification
from nexus_edge.runtimes.dual_encoder.image_stream import prepared
from nexus_edge.runtimes.dual_encoder.index.image_index import Hit, ImageIndex
from nexus_edge.runtimes.dual_encoder.label_bank import BUNDLED, LabelBank
from nexus_edge.runtimes.dual_encoder.prompts import PromptSet, bare_letters, of_labels
from nexus_edge.runtimes.dual_encoder.text_batches import batches
from nexus_edge.runtimes.dual_encoder.unit_rows import bad_rows
from nexus_edge.runtimes.process import OfOneProcess

BATCH = 16  # images or texts that run through a tower together


class DualEncoder(OfOneProcess):
    """Images and texts in one space, where a cosine says how well they fit each other.

    Any number of threads may use one at the same time. `close`, or `with`, gives its memory back.

    Attributes:
        name: of the bundle's model
        weights: where they come from, as in the manifest
        root: the bundle's folder
        info: embed_dim, logit_scale, and the towers' hashes
    """

    def __init__(self, bundle: Bundle, engine: DualEngine, processor: DualProcessor) -> None:
        self._bundle = bundle
        self.engine = engine
        self.processor = processor
        self.name: str = bundle.manifest.name
        self.weights: str = bundle.manifest.source.weights
        self.root = bundle.root
        self.info = _info(bundle)
        self._newest: LabelBank | None = None
        self._closed = False

    def close(self) -> None:
        """Give memory back. Calls that run are not disturbed; whatever is asked after that is an InputError."""
        self._closed = True
        self.engine.close()

    def __enter__(self) -> "DualEncoder":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @renamed_keyword("pictures", "images")
    def embed_images(
        self, images: ImageInput | Iterable[ImageInput], *, batch_size: int = BATCH, progress: Count = uncounted
    ) -> Floats:
        """L2-normalised embeddings float32 [images, dim].

        Args:
            images: one or several of what `ImageInput` allows; decoded a few at a time, however many there are
            batch_size: images that run through the tower together
            progress: called with the number of images done and that of all

        Raises:
            ImageError: an image cannot be read; `stream_images` goes on after it
        """
        rows: list[Floats] = []
        given = as_images(images)
        progress(0, len(given))
        for batch in self.stream_images(given, batch_size):
            for result in batch:
                if isinstance(result, ImageError):
                    raise result
                rows.append(result)
            progress(len(rows), len(given))
        return np.stack(rows) if rows else np.zeros((0, self.info.embed_dim), np.float32)

    @renamed_keyword("pictures", "images")
    def stream_images(
        self, images: ImageInput | Iterable[ImageInput], batch_size: int = BATCH
    ) -> Iterator[list[Floats | ImageError]]:
        """The embedding [dim] of each image, or the error that says why it cannot be read, batch by batch.

        Raises:
            InputError: `images` is neither an image nor several
        """
        _check_batch(batch_size)
        if not is_image_input(images):
            require_kind("images", images, Iterable, "an image or several")
        batch: list[Floats | ImageError] = []
        given = [images] if is_image_input(images) else cast("Iterable[ImageInput]", images)
        for pixels in prepared(self.processor, given, ahead=2 * batch_size):
            batch.append(pixels)
            if len(batch) == batch_size:
                yield self._embed_batch(batch)
                batch = []
        if batch:
            yield self._embed_batch(batch)

    def embed_texts(self, texts: Sequence[str], *, batch_size: int = BATCH, progress: Count = uncounted) -> Floats:
        """L2-normalised embeddings float32 [texts, dim].

        A text that is longer than the model reads is cut, with a `TruncatedTextWarning`.

        Args:
            texts: sentences
            batch_size: texts that run through the tower together
            progress: called with the number of texts done and that of all

        Raises:
            BundleError: the bundle was shipped without its text tower
        """
        _check_batch(batch_size)
        require_texts("texts", texts)
        self._need_text()
        rows, done = np.zeros((len(texts), self.info.embed_dim), np.float32), 0
        progress(0, len(texts))
        for places, ids in batches(self.processor, texts, batch_size):
            rows[places] = self._checked(TEXT, self.engine.encode_texts(ids), len(ids))
            done += len(places)
            progress(done, len(texts))
        return rows

    def label_bank(
        self, labels: Sequence[str] | PromptSet, templates: Sequence[str] | None = None, *, progress: Count = uncounted
    ) -> LabelBank:
        """The embeddings of labels, to be kept: every label in every template, normalised, averaged, normalised.

        Args:
            labels: words or phrases, or a set with its own templates
            templates: sentences with {} where the label goes; default: "this is a photo of {}"
            progress: called with the number of prompts done and that of all

        Raises:
            InputError: no labels, an empty one, one twice, two that are the same to the model, or a template without {}
            BundleError: the bundle was shipped without its text tower
        """
        prompts = labels if isinstance(labels, PromptSet) else of_labels(labels, templates)
        self._require_apart(prompts.labels)
        embeddings = prompts.ensemble(self.embed_texts(prompts.prompts, progress=progress))
        return LabelBank(prompts, embeddings, self.info.text_tower, self.name, self.weights)

    @property
    def bundled_bank(self) -> LabelBank | None:
        """The label bank that a bundle without a text tower carries."""
        if BUNDLED not in self._bundle.manifest.files:
            return None
        return LabelBank.load(self._bundle.file(BUNDLED))

    @overload
    def classify(  # type: ignore[overload-overlap]  # a str is an image's path, though also a sequence
        self, images: ImageInput, labels: Sequence[str] | PromptSet | LabelBank, templates: Sequence[str] | None = None
    ) -> Classification: ...
    @overload
    def classify(
        self,
        images: Sequence[ImageInput],
        labels: Sequence[str] | PromptSet | LabelBank,
        templates: Sequence[str] | None = None,
    ) -> list[Classification]: ...
    def classify(
        self,
        images: ImageInput | Sequence[ImageInput],
        labels: Sequence[str] | PromptSet | LabelBank,
        templates: Sequence[str] | None = None,
    ) -> Classification | list[Classification]:
        """How probable each label is: softmax of logit_scale times the cosines.

        Args:
            images: one of what `ImageInput` allows, or several
            labels: words or phrases, a set with its own templates, or a label bank, which needs no text tower
            templates: see `label_bank`

        Returns:
            one result for one image, a list for several

        Raises:
            InputError: labels or templates cannot be used, or the bank is of another text tower
            ImageError: an image cannot be read
        """
        bank = self._bank(labels, templates)
        if images is None:
            raise InputError("images is None; give an image, or a list of images")
        if is_image_input(images):
            return self.compare(self.embed_images(images)[0], bank)
        return [self.compare(embedding, bank) for embedding in self.embed_images(images)]

    def compare(self, embedding: Floats, bank: LabelBank) -> Classification:
        """What `classify` says of an image whose embedding [dim] is known; raises InputError for anything else."""
        require_kind("embedding", embedding, np.ndarray, "an array [dim]")
        require_kind("bank", bank, LabelBank, "a LabelBank")
        bank.check(self.info, self.name)
        if embedding.shape != (self.info.embed_dim,):
            raise InputError(f"embedding is {list(embedding.shape)}; {[self.info.embed_dim]} is needed")
        return Classification.of(bank.labels, bank.embeddings @ embedding, self.info.logit_scale)

    def search(self, query: str | ImageInput, index: ImageIndex | str | Path, top_k: int = 10) -> list[Hit]:
        """The images of an index that fit a text, or resemble an image, best first.

        Args:
            query: a str is a text, unless it is a data URI; an image is a Path, bytes, or else what `ImageInput` allows
            index: one that this model's image tower made, or its file
            top_k: most hits

        Raises:
            InputError: the index is damaged, or of another model; an argument is not what it must be
            ImageError: the image cannot be read
            BundleError: a text, and the bundle was shipped without its text tower
        """
        if not is_image_input(query):  # a list would be embedded whole, and searched for by its first
            require_kind("query", query, str, "a text (str) or one image")
        opened = index if isinstance(index, ImageIndex) else ImageIndex.load(require_path("index", index))
        opened.check(self.info, self.name)
        if isinstance(query, str) and not is_data_uri(query):
            rows = self.embed_texts([query])
        else:
            rows = self.embed_images(query)
        return opened.nearest(rows[0], top_k)

    def _bank(self, labels: Sequence[str] | PromptSet | LabelBank, templates: Sequence[str] | None) -> LabelBank:
        if isinstance(labels, LabelBank):
            if templates is not None:
                raise InputError("a label bank has its templates in it; leave them out")
            labels.check(self.info, self.name)
            return labels
        prompts = labels if isinstance(labels, PromptSet) else of_labels(labels, templates)
        newest = self._newest  # looked at once, because another thread may put its own there
        if newest is None or newest.prompts != prompts:  # who asks about images in a loop, asks the same
            newest = self._newest = self.label_bank(prompts)
        return newest

    def _embed_batch(self, batch: Sequence[Floats | ImageError]) -> list[Floats | ImageError]:
        if self._closed:
            raise closed()
        pixels = [item for item in batch if not isinstance(item, ImageError)]
        rows = iter(self._checked(IMAGE, self.engine.encode_images(np.stack(pixels)), len(pixels)) if pixels else ())
        return [item if isinstance(item, ImageError) else next(rows) for item in batch]

    def _checked(self, tower: str, rows: Floats, count: int) -> Floats:
        """What a tower gave, if it is embeddings [count, dim] as `search` wants them: a damaged weight shows here."""
        if rows.shape != (count, self.info.embed_dim):
            raise BundleError(
                f"{self.root}: {tower} computes {list(rows.shape)}, the manifest's dual_encoder says "
                f"{[count, self.info.embed_dim]}; export the bundle again"
            )
        bad = bad_rows(rows)
        if bad:
            raise BundleError(
                f"{self.root}: {tower} computes embeddings that are not finite or not of length 1 ({bad} of {count}); "
                "nexus-edge verify says whether its files are damaged, export it again"
            )
        return rows

    def _require_apart(self, labels: Sequence[str]) -> None:
        """Raise InputError for two labels that the tokenizer makes one of, as "a" and "A" where it has small letters.

        Words that it does not know have one id, and are others all the same.
        """
        seen: dict[tuple[bytes, str], str] = {}
        for label, ids in zip(labels, self.processor.texts(labels), strict=True):
            other = seen.setdefault((ids.tobytes(), bare_letters(label)), label)
            if other is not label:
                raise InputError(f"labels {other!r:.80} and {label!r:.80} are the same to the model; give one of them")

    def _need_text(self) -> None:
        if self._closed:
            raise closed()
        if not has_graph(self._bundle, TEXT):
            raise BundleError(
                f"{self.root}: was shipped without its text tower, so it cannot embed text; "
                "classify with its label bank, or use the bundle that it was made from"
            )


def _info(bundle: Bundle) -> DualEncoderInfo:
    info = bundle.manifest.dual_encoder
    if info is None or not has_graph(bundle, IMAGE):
        raise BundleError(f"{bundle.root}: has no dual_encoder or no {IMAGE} in its manifest; export it again")
    return info


def _check_batch(size: int) -> None:
    require_whole("batch_size", size)
    if size < 1:
        raise InputError(f"batch size is {size}; it must be 1 or more")
