"""Weights of multimolecule's RiNALMo and ours: the same numbers under other names, in another order of symbols.

Both directions copy numbers and compute none. multimolecule itself is not needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..rna.alphabet import UNK, VOCABULARY
from .rinalmo import RiNALMo

__all__ = ["MODEL_TYPE", "SYMBOLS", "from_multimolecule_state", "to_multimolecule_state"]

MODEL_TYPE = "rinalmo"
"""``model_type`` in multimolecule's ``config.json``."""


SYMBOLS = ("<pad>", "<cls>", "<eos>", "<unk>", "<mask>", "<null>", *"ACGUNRYSWKMBDHVIX|.*-?")
"""Its vocabulary; the place of a symbol is its token id."""


ROWS = [SYMBOLS.index(symbol.replace("T", "U")) for symbol in VOCABULARY]
"""Its id of each of our symbols."""


OF_BLOCK = {
    "attention.layer_norm.weight": "attn_layer_norm.weight",
    "attention.layer_norm.bias": "attn_layer_norm.bias",
    "attention.output.dense.weight": "mh_attn.out_proj.weight",
    "layer_norm.weight": "out_layer_norm.weight",
    "layer_norm.bias": "out_layer_norm.bias",
    "intermediate.bias": "transition.0.beta",
    "intermediate.linear.weight": "transition.0.linear.weight",
    "intermediate.linear.bias": "transition.0.linear.bias",
    "intermediate.linear_gate.weight": "transition.0.linear_gate.weight",
    "intermediate.linear_gate.bias": "transition.0.linear_gate.bias",
    "output.dense.weight": "transition.2.weight",
    "output.dense.bias": "transition.2.bias",
}
"""Its names within a block → ours; queries, keys and values, which we keep in one matrix, apart."""


OUTSIDE = {
    "model.encoder.layer_norm.weight": "transformer.final_layer_norm.weight",
    "model.encoder.layer_norm.bias": "transformer.final_layer_norm.bias",
    "lm_head.transform.dense.weight": "lm_mask_head.linear1.weight",
    "lm_head.transform.dense.bias": "lm_mask_head.linear1.bias",
    "lm_head.transform.layer_norm.weight": "lm_mask_head.layer_norm.weight",
    "lm_head.transform.layer_norm.bias": "lm_mask_head.layer_norm.bias",
}


OF_SYMBOLS = {
    "model.embeddings.word_embeddings.weight": "embedding.weight",
    "lm_head.decoder.weight": "lm_mask_head.linear2.weight",
    "lm_head.decoder.bias": "lm_mask_head.linear2.bias",
}
"""Tensors with a row a symbol."""


def to_multimolecule_state(model: RiNALMo) -> dict[str, Tensor]:
    """Return the state dict of multimolecule's ``RiNALMoForMaskedLM`` with the weights of a model of ours.

    Its ``RiNALMoConfig`` has ``hidden_size=dim``, ``num_hidden_layers=blocks``, ``num_attention_heads=heads`` and
    ``intermediate_size=4 * dim``, of which it takes two thirds. Symbols that we do not have get the row of ``<unk>``.
    A task head is left out.

    Examples
    --------
    >>> from rinalmo_kit import load
    >>> state = to_multimolecule_state(load("nano", device="cpu"))
    >>> state["model.embeddings.word_embeddings.weight"].shape
    torch.Size([28, 320])
    """
    ours, theirs = model.state_dict(), {}
    for their_name, our_name in OF_SYMBOLS.items():
        rows = ours[our_name]
        made = rows[UNK].expand(len(SYMBOLS), *rows.shape[1:]).clone()
        made[ROWS] = rows
        theirs[their_name] = made
    theirs["lm_head.bias"] = theirs["lm_head.decoder.bias"]
    theirs |= {their_name: ours[our_name] for their_name, our_name in OUTSIDE.items()}
    for block in range(model.config.blocks):
        source, target = f"transformer.blocks.{block}.", f"model.encoder.layer.{block}."
        theirs |= {target + their_name: ours[source + our_name] for their_name, our_name in OF_BLOCK.items()}
        parts = ours[f"{source}mh_attn.Wqkv.weight"].chunk(3)
        for name, part in zip(("query", "key", "value"), parts, strict=True):
            theirs[f"{target}attention.self.{name}.weight"] = part
    return theirs


def from_multimolecule_state(
    state: Mapping[str, Tensor], config: Mapping[str, Any], source: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a state dict of multimolecule's RiNALMo in our layout, and the metadata that our file would have.

    Parameters
    ----------
    state : mapping of str to Tensor
        Of its ``RiNALMoForMaskedLM`` or ``RiNALMoForPreTraining``, with the language-model head.
    config : mapping
        Its ``config.json``.
    source : str
        For errors.

    Raises
    ------
    ValueError
        For a setting or a tensor that our model does not have: a task head of multimolecule, tied embeddings,
        another vocabulary; for a state dict without the language-model head.
    """
    heads = config.get("num_attention_heads")
    wanted = {"vocab_size": len(SYMBOLS), "position_embedding_type": "rotary", "learnable_beta": True}
    wanted |= {"token_dropout": True, "tie_word_embeddings": False, "layer_norm_eps": 1e-5}
    if wrong := [name for name, value in wanted.items() if config.get(name, value) != value]:
        name = wrong[0]
        raise ValueError(f"{source}: {name}={str(config[name])[:80]} in its config: expected {wanted[name]}")
    found: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        if key == "lm_head.bias":
            continue  # the decoder's own, a second time
        match = re.fullmatch(r"model\.encoder\.layer\.([0-9]{1,6})\.(.+)", key)
        if key in OUTSIDE:
            found[OUTSIDE[key]] = value
        elif key in OF_SYMBOLS:
            if value.dim() == 0 or len(value) != len(SYMBOLS):
                raise ValueError(
                    f"{source}: {key} has shape {tuple(value.shape)}: expected {len(SYMBOLS)} rows"
                )
            found[OF_SYMBOLS[key]] = value[ROWS]
        elif match and (part := re.fullmatch(r"attention\.self\.(query|key|value)\.weight", match[2])):
            parts.setdefault(f"transformer.blocks.{match[1]}.mh_attn.", {})[f"to_{part[1][0]}.weight"] = value
        elif match and match[2] in OF_BLOCK:
            found[f"transformer.blocks.{match[1]}.{OF_BLOCK[match[2]]}"] = value
        else:
            found[key] = value  # for the strict check to report
    for start, three in parts.items():
        found |= {start + name: value for name, value in three.items()}
    if "lm_head.decoder.bias" not in state and "lm_head.bias" in state:
        found["lm_mask_head.linear2.bias"] = state["lm_head.bias"][ROWS]
    if "lm_head.decoder.weight" not in state:
        raise ValueError(
            f"{source} has no language-model head: expected the weights of RiNALMoForMaskedLM; "
            "rinalmo_kit.model.multimolecule.adapt takes a bare RiNALMoModel"
        )
    return found, {"heads": str(heads)}
