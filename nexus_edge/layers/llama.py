"""The Llama decoder (arXiv 2302.13971) as a whole, which Vicuna, Mistral (arXiv 2310.06825) and Yi have too.

Module names are those of the checkpoints. The layers are run by the model that they are a part of, see
`nexus_edge.models.base.VisionLanguageModel.decode`.
"""

from torch import nn

from nexus_edge.layers.decoder import DecoderLayer, RMSNorm
from nexus_edge.layers.params import LlamaParams
from nexus_edge.layers.rope import Rope


class LlamaModel(nn.Module):
    """Everything but the language head."""

    def __init__(self, params: LlamaParams) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(params.vocab_size, params.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(params.decoder) for _ in range(params.num_hidden_layers))
        self.norm = RMSNorm(params.hidden_size, params.decoder.rms_norm_eps)
        self.rope = Rope(params.rope_theta, params.decoder.head_dim)


class Llama(nn.Module):
    """Decoder and language head, under the names of `LlamaForCausalLM`."""

    def __init__(self, params: LlamaParams) -> None:
        super().__init__()
        self.model = LlamaModel(params)
        self.lm_head = nn.Linear(params.hidden_size, params.vocab_size, bias=False)
