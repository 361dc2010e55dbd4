"""Low-rank adapters (LoRA), named as in PEFT."""

import json
from dataclasses import asdict, dataclass
from typing import Mapping, Optional, Sequence, Union


@dataclass
class LoraConfig:
    """What a new adapter is like: y = W x + b + scale * B(A(x)), scale = lora_alpha / r.

    Args:
        r: the inner width.
        lora_dropout: probability with which an input of A is dropped in training.
        target_modules: "all-linear", a list of names or ends of names, or a regular expression for whole names.
        use_rslora: scale = lora_alpha / sqrt(r) instead.
        rank_pattern, alpha_pattern: r and lora_alpha of some modules, by a regular expression for the end of their name.
        layers_to_transform: the layers that are adapted; None: all.
        trainable_token_indices: ids of tokens whose rows of the embedding (and of the output matrix, where the two are
            one) are trained as well, so that a base model learns <|im_end|>; {"embed_tokens": ids, "lm_head": ids} for
            models whose output matrix is one of its own.
        seed: of A's starting values; B starts at 0, so a new adapter changes nothing.
    """

    r: int = 8
    lora_alpha: float = 8
    lora_dropout: float = 0.0
    target_modules: Union[str, Sequence[str]] = "all-linear"
    use_rslora: bool = False
    rank_pattern: Optional[Mapping[str, int]] = None
    alpha_pattern: Optional[Mapping[str, float]] = None
    layers_to_transform: Optional[Union[int, Sequence[int]]] = None
    trainable_token_indices: Optional[Union[Sequence[int], Mapping[str, Sequence[int]]]] = None
    seed: int = 0

    def _json(self) -> str:
        fields = asdict(self)
        del fields["seed"]
        # numpy's numbers and arrays have tolist.
        return json.dumps(fields, default=lambda value: value.tolist() if hasattr(value, "tolist") else list(value))
