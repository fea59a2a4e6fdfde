"""A family of models: all that nexus-edge knows of one kind of model, found in one folder of `nexus_edge/models/`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nexus_edge.interfaces.target import Flavour

if TYPE_CHECKING:
    from nexus_edge.configs.keys import Rules
    from nexus_edge.interfaces.facts import Chat, DualEncoderFacts, RuntimeFacts, VlmFacts
    from nexus_edge.interfaces.graph import Interface, ModelSplit
    from nexus_edge.interfaces.host import VlmHost
    from nexus_edge.interfaces.parity import DualCases, ParityCases, VlmCases
    from nexus_edge.interfaces.processor import DualProcessor, Processor
    from nexus_edge.interfaces.target import CompanionWriter
    from nexus_edge.interfaces.weights import WeightRules
    from nexus_edge.models.base import ReferenceModel
    from nexus_edge.targets.coreml.family import StaticSplit
    from nexus_edge.targets.openvino.family import OpenVinoClient

Kind = Literal["vlm", "dual_encoder"]


class Family(ABC):
    """One family. Importing it imports no torch: what needs torch is imported inside the methods.

    A folder `nexus_edge/models/<model_type>/` whose `__init__.py` has a `FAMILY` is found by scanning, with no edit
    elsewhere.
    """

    model_type: ClassVar[str]
    """Of config.json; the folder has the same name."""

    kind: ClassVar[Kind]
    """What a bundle of it can do: answer, or embed images and texts."""

    title: ClassVar[str]
    """Name of the model, as people write it."""

    published: ClassVar[Mapping[str, str]]
    """Hub id of a published checkpoint -> file of `published/` with its numbers, without the ending."""

    flavours: ClassVar[frozenset[Flavour]] = frozenset({"dynamic", "static"})
    """Of the graphs that it has: what targets are written from, see `TargetInfo.flavour`."""

    clients: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Target -> runtimes of others that run its folder as it is, as people write them; for `docs/support.md`."""

    def matches(self, config: Mapping[str, Any]) -> bool:
        """Whether a parsed configuration is of this family."""
        return config.get("model_type") == self.model_type

    @property
    def published_folder(self) -> Path:
        """Where the files of `published` are."""
        return Path(__file__).parents[1] / "models" / self.model_type / "published"

    @property
    @abstractmethod
    def config_rules(self) -> "Mapping[str, Rules]":
        """Configuration file of a checkpoint -> the rule of each of its keys."""

    @abstractmethod
    def processor(self, folder: Path) -> "Processor | DualProcessor":
        """The processor of a checkpoint folder or a bundle's `processor/`; raises CheckpointError."""

    @abstractmethod
    def build(self, config: Mapping[str, Any]) -> "ReferenceModel":
        """The reference model that a configuration describes, on the default device, in eval mode.

        Raises:
            CheckpointError: a number is missing or impossible.
        """

    @abstractmethod
    def weight_rules(self, config: Mapping[str, Any]) -> "WeightRules":
        """How names of checkpoints differ from the model's, and what they may hold beyond it."""

    @abstractmethod
    def split(self) -> "ModelSplit":
        """Into graphs with dynamic shapes."""

    @abstractmethod
    def static_split(self) -> "StaticSplit":
        """Into programs with fixed shapes."""

    def openvino_client(self) -> "OpenVinoClient | None":
        """The layout that OpenVINO GenAI wants; None: the graphs of `split`, as they are."""
        return None

    def onnx_companions(self) -> "Sequence[CompanionWriter]":
        """Writers of what other runtimes read beside the graphs of an `onnx/` folder."""
        return ()

    @abstractmethod
    def facts(self, config: Mapping[str, Any], processor: Path) -> "RuntimeFacts":
        """What every runtime must know of a model, for the manifest.

        Args:
            config: of the checkpoint, parsed
            processor: a bundle's `processor/` folder

        Raises:
            CheckpointError: a file is missing or wrong.
        """

    @abstractmethod
    def parity(self) -> "ParityCases":
        """What the parity ladder asks, and what the original makes of it."""


class VlmFamily(Family):
    """Models that answer a prompt with images."""

    kind = "vlm"

    @abstractmethod
    def processor(self, folder: Path) -> "Processor": ...

    def facts(
        self,
        config: Mapping[str, Any],
        processor: Path,
        opened: "Processor | None" = None,
        chat: "Chat | None" = None,
    ) -> "VlmFacts":
        """See `Family.facts`.

        Args:
            config, processor: as there
            opened: the processor of that folder, where it is open already
            chat: taken for what the chat template writes, which nothing renders then
        """
        from nexus_edge.processing.turns import turns_of

        settings = self.processor(processor) if opened is None else opened
        return self.facts_of(config, settings, turns_of(settings.apply_chat_template) if chat is None else chat)

    @abstractmethod
    def facts_of(self, config: Mapping[str, Any], settings: "Processor", chat: "Chat") -> "VlmFacts":
        """See `facts`; `settings` is what `processor` gives, and `chat` what its chat template writes."""

    @abstractmethod
    def context_length(self, config: Mapping[str, Any]) -> int:
        """Most tokens, prompt and answer together, of the model that a configuration describes.

        Raises:
            KeyError, TypeError, ValueError: what is wrong with the configuration.
        """

    @abstractmethod
    def parity(self) -> "VlmCases": ...

    @abstractmethod
    def host(self, config: Mapping[str, Any], graphs: "Mapping[str, Interface]", folder: Path) -> "VlmHost":
        """What happens between the graphs of one target.

        Args:
            config: parsed config.json of the checkpoint
            graphs: what each takes and gives, by its name in the manifest
            folder: that holds them, and what the target keeps beside them

        Raises:
            BundleError: the folder is damaged, or the graphs are not of this family.
            KeyError, TypeError, ValueError: what is wrong with the configuration.
        """

    def has_window(self, config: Mapping[str, Any]) -> bool:
        """Whether attention hides tokens from those far after them."""
        return False


class DualEncoderFamily(Family):
    """Models with an image and a text tower, whose embeddings are compared."""

    kind = "dual_encoder"

    @abstractmethod
    def processor(self, folder: Path) -> "DualProcessor": ...

    def facts(
        self, config: Mapping[str, Any], processor: Path, opened: "DualProcessor | None" = None
    ) -> "DualEncoderFacts":
        """See `Family.facts`; `opened` is the processor of that folder, where it is open already."""
        return self.facts_of(processor, self.processor(processor) if opened is None else opened)

    @abstractmethod
    def facts_of(self, processor: Path, settings: "DualProcessor") -> "DualEncoderFacts":
        """See `facts`; `settings` is what `processor` gives for that folder."""

    @abstractmethod
    def parity(self) -> "DualCases": ...
