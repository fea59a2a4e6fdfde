"""The lab of models with an image and a text tower, which know nothing of each other until their embeddings meet."""

from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from nexus_edge import processing
from nexus_edge.bundle import DualEncoderInfo
from nexus_edge.errors import BundleError
from nexus_edge.parity.dual_encoder.embeddings import Embeddings, embed
from nexus_edge.parity.dual_encoder.material import Material, make_material
from nexus_edge.parity.lab import Lab, Reference
from nexus_edge.parity.metrics import Array
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.sources import parameter_count, weight_bytes
from nexus_edge.parity.stages import Step, run_torch
from nexus_edge.processing import DualProcessor

if TYPE_CHECKING:
    from nexus_edge.parity.dual_encoder.inputs import DualInputs

IMAGE, TEXT = "image_encoder", "text_encoder"
BATCH = 3  # texts of a step: enough for padding of several lengths


class DualLab(Lab):
    """See `Lab`; a family adds its goldens, and its own way from pictures and texts to the towers' inputs."""

    @property
    @abstractmethod
    def original_inputs(self) -> "DualInputs":
        """Pictures and texts to the towers' inputs by other code than `nexus_edge.processing`."""

    @property
    def info(self) -> DualEncoderInfo:
        """What the manifest says of the two towers."""
        if self.manifest.dual_encoder is None or any(
            {IMAGE, TEXT} - set(graphs) for graphs in self.manifest.graphs.values()
        ):
            raise BundleError(
                f"{self.bundle.root}: has not both of its towers; judge the bundle that it was taken from"
            )
        return self.manifest.dual_encoder

    @cached_property
    def processor(self) -> DualProcessor:
        return processing.dual_from_checkpoint(self.bundle.root)

    @cached_property
    def material(self) -> Material:
        return make_material(parameter_count(self.bundle), self.held_out_pictures)

    @cached_property
    def full_embeddings(self) -> Embeddings:
        """Of all pictures and texts, by the full-precision reference."""
        return embed(self.full, self.processor, self.material)

    @cached_property
    def quantized_embeddings(self) -> Embeddings:
        """The same by the quantized PyTorch model."""
        return embed(self.quantized, self.processor, self.material)

    @property
    def logit_scale(self) -> float:
        """The factor of the cosines: the checkpoint's where there is one, else what the manifest says."""
        from nexus_edge.models.loading import build_model, read_tensor, source_keys

        if isinstance(self.checkpoint, str):
            return self.info.logit_scale
        import torch

        with torch.device("meta"):
            keys = source_keys(self.checkpoint, build_model(self.checkpoint))
        return float(read_tensor(self.checkpoint, keys["logit_scale"]).double().exp())

    def compare_manifest(self) -> list[Check]:
        from nexus_edge.parity.dual_encoder.structure import compare_manifest

        return compare_manifest(self)

    def steps(self, reference: Reference) -> Iterator[Step]:
        from nexus_edge.families import family_named
        from nexus_edge.parity.rounding import effect_on_graph

        model = self.model(reference)
        graphs = {spec.name: spec for spec in family_named(self.manifest.model_type).split().graphs(model)}
        for graph, case, inputs in self._inputs():
            expected = run_torch(graphs[graph], inputs)
            yield Step(graph, case, inputs, expected, partial(effect_on_graph, graphs[graph], inputs, expected))

    def _inputs(self) -> Iterator[tuple[str, str, dict[str, Array]]]:
        probes, sentences = self.material.probes, self.material.sentences
        pixels = self.processor.images([probe.picture for probe in probes[:BATCH]])
        yield IMAGE, "one picture", {"pixel_values": pixels[:1]}
        yield IMAGE, f"{BATCH} pictures", {"pixel_values": pixels}
        # Of one length without padding, of several, and one that is cut.
        for case, chosen in (
            ("one sentence", sentences[2:3]),
            (f"{BATCH} sentences", sentences[:: -(-len(sentences) // BATCH)]),
            ("a text that is cut", sentences[-1:]),
        ):
            yield TEXT, case, {"input_ids": trimmed(self.processor.texts(chosen))}

    def compare_schemes(self) -> list[Check]:
        from nexus_edge.parity.dual_encoder.scheme import compare_schemes

        return compare_schemes(self)

    def compare_end_to_end(self, target: str) -> list[Check]:
        from nexus_edge.parity.dual_encoder.end_to_end import compare_end_to_end

        needed = 2 * weight_bytes(self.bundle)
        self.require_memory(needed, "the quantized model in PyTorch and in the runtime")
        self.make_room(needed)
        return compare_end_to_end(self, target)

    def compare_examples(self, target: str) -> list[Check]:
        from nexus_edge.parity.dual_encoder.own_data import compare_examples

        return compare_examples(self, target)

    def record(self) -> Iterator[tuple[str, Array]]:
        from nexus_edge.parity.dual_encoder.goldens import record

        return record(self)


def trimmed(ids: Array) -> Array:
    """int64 [texts, tokens] without the columns that are padding in every row, as the runtime feeds them."""
    width = int((np.asarray(ids) != 0).sum(axis=1).max())
    return ids[:, :width]
