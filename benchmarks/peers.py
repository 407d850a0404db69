"""multimolecule's RiNALMo with our weights, at its best setting.

multimolecule is AGPL-3.0 and not a dependency of this project: install it in a separate environment
(benchmarks/README.md). Without it these lines are left out of the benchmark, and the run says so.
"""

from __future__ import annotations

import importlib.metadata
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rinalmo_kit.model.multimolecule_weights import to_multimolecule_state
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.rna.alphabet import VOCABULARY

PAD = 0  # in multimolecule's vocabulary


class Setting(NamedTuple):
    """One way to run multimolecule."""

    attention: str  # "sdpa" or "eager"
    batch: int
    inference_mode: bool = True

    def __str__(self) -> str:
        mode = "inference_mode" if self.inference_mode else "no_grad"
        return f"{self.attention}, sorted batches of {self.batch}, {mode}"


SETTINGS = [
    *(Setting("sdpa", batch) for batch in (1, 2, 4, 8, 16, 32, 64)),
    *(Setting("eager", batch) for batch in (1, 4, 16)),
    Setting("sdpa", 1, inference_mode=False),
]


def version() -> str | None:
    """Version of multimolecule, None where it is not installed."""
    try:
        return importlib.metadata.version("multimolecule")
    except importlib.metadata.PackageNotFoundError:
        return None


class Peer:
    """multimolecule's ``RiNALMoModel`` with the weights of one of our models."""

    def __init__(self, model: RiNALMo) -> None:
        from multimolecule import RiNALMoConfig, RiNALMoModel, RnaTokenizer

        config = RiNALMoConfig(
            hidden_size=model.config.dim,
            num_hidden_layers=model.config.blocks,
            num_attention_heads=model.config.heads,
            intermediate_size=4 * model.config.dim,  # it takes 2/3 of this itself
        )
        self.model = RiNALMoModel(config, add_pooling_layer=False).eval()
        known = RnaTokenizer().get_vocab()
        theirs = [known.get(symbol.replace("T", "U"), known["<unk>"]) for symbol in VOCABULARY]
        self.ids = torch.tensor(theirs)  # our token id → theirs
        state = to_multimolecule_state(model)
        self.model.load_state_dict(
            {name.removeprefix("model."): x for name, x in state.items() if name.startswith("model.")}
        )

    def encode(self, tokens: list[Tensor], setting: Setting) -> list[Tensor]:
        """Encode our token ids (one tensor a sequence); results come in input order."""
        self.model.config._attn_implementation = setting.attention  # read at every call
        results: list[Tensor] = [torch.empty(0)] * len(tokens)
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        with torch.inference_mode() if setting.inference_mode else torch.no_grad():
            for start in range(0, len(order), setting.batch):
                chosen = order[start : start + setting.batch]
                ids = [self.ids[tokens[i]] for i in chosen]
                padded = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=PAD)
                rows = self.model(padded, attention_mask=(padded != PAD).long()).last_hidden_state
                for i, row in zip(chosen, rows, strict=True):
                    results[i] = row[: len(tokens[i])].clone()
        return results
