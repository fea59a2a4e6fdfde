"""What a run asks a model with an image and a text tower, and what the models in PyTorch made of it so far."""

from dataclasses import dataclass
from functools import cached_property

from nexus_edge import processing
from nexus_edge.bundle import DualEncoderInfo
from nexus_edge.engines.dual import IMAGE, TEXT
from nexus_edge.errors import BundleError
from nexus_edge.interfaces.family import DualEncoderFamily
from nexus_edge.interfaces.parity import DualCases, DualInputs
from nexus_edge.parity.dual_encoder.embeddings import Embeddings, embed
from nexus_edge.parity.dual_encoder.evaluation_set import EvaluationSet, make_evaluation_set
from nexus_edge.parity.kinds import judged_family
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.sources import parameter_count, processor_files
from nexus_edge.processing import DualProcessor
from nexus_edge.processing.folder import read_json


@dataclass
class DualRun:
    """See `dual_run`.

    Attributes:
        run: whose bundle is asked
        given: by its family
    """

    run: ParityRun
    given: DualCases

    @property
    def info(self) -> DualEncoderInfo:
        """What the manifest says of the two towers."""
        manifest = self.run.manifest
        if manifest.dual_encoder is None or any({IMAGE, TEXT} - set(graphs) for graphs in manifest.graphs.values()):
            raise BundleError(
                f"{self.run.bundle.root}: has not both of its towers; judge the bundle that it was taken from"
            )
        return manifest.dual_encoder

    @cached_property
    def processor(self) -> DualProcessor:
        """The bundle's."""
        return processing.dual_from_checkpoint(self.run.bundle.root)

    @cached_property
    def original_inputs(self) -> DualInputs:
        """By other code than `nexus_edge.processing`, with the settings of the checkpoint where that is at hand."""
        checkpoint = self.run.checkpoint
        if not isinstance(checkpoint, str):
            return self.given.original_inputs(checkpoint.config, checkpoint.processor_files())
        folder = self.run.bundle.root / "processor"
        return self.given.original_inputs(read_json(folder, "config.json"), processor_files(self.run.bundle))

    @cached_property
    def evaluation_set(self) -> EvaluationSet:
        """As many images and texts as the model's size allows."""
        return make_evaluation_set(parameter_count(self.run.bundle), self.run.held_out_images)

    @cached_property
    def full_embeddings(self) -> Embeddings:
        """Of all images and texts, by the full-precision reference."""
        return embed(self.run.references.full, self.processor, self.evaluation_set)

    @cached_property
    def quantized_embeddings(self) -> Embeddings:
        """The same by the quantized PyTorch model."""
        return embed(self.run.references.quantized, self.processor, self.evaluation_set)

    @property
    def logit_scale(self) -> float:
        """The factor of the cosines: the checkpoint's where there is one, else what the manifest says."""
        from nexus_edge.checkpoints.tensors import take

        if isinstance(self.run.checkpoint, str):
            return self.info.logit_scale
        return float(take(self.run.weights, "logit_scale").double().exp())


def dual_run(run: ParityRun) -> DualRun:
    """What a run asks; made once."""
    if not isinstance(run.prepared, DualRun):
        family = judged_family(run.manifest.model_type)
        assert isinstance(family, DualEncoderFamily), f"{family.model_type} is of kind {family.kind}"
        run.prepared = DualRun(run, family.parity())
    return run.prepared
