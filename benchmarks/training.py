"""Training steps on real sequences: ours, the official way of computing, and multimolecule's.

A step is forward, backward and an AdamW step in train mode, with dropout 0.1 of attention weights and residual
branches. The sequences come from the tables that ``RINALMO_KIT_DATA`` names.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rinalmo_kit import tokenize
from rinalmo_kit.datasets import load_table
from rinalmo_kit.datasets.corpus.store import ListCorpus
from rinalmo_kit.model.heads import ClassificationHead
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.training.masking import MaskedDataset, collate

from . import official, peers

SEED = 0


@dataclass
class Task:
    """A batch, how it is made from text, and the loss of a head."""

    name: str
    load: Callable[[], Any]
    tokens: Tensor  # (B, L), as the encoder gets them
    wanted: Tensor  # bool (B, L), the tokens whose representations the head needs
    head: nn.Module
    loss: Callable[[Tensor], Tensor]  # of what the head returns


@dataclass
class Side:
    """A way to take a training step: encoder, head, and the representations of a task's wanted tokens."""

    name: str
    encoder: nn.Module
    head: nn.Module
    task: Task
    represent: Callable[[], Tensor]

    def __post_init__(self) -> None:
        self.head = copy.deepcopy(self.head).requires_grad_()
        self.parameters = dict(self.encoder.named_parameters())
        self.parameters |= {f"head.{name}": p for name, p in self.head.named_parameters()}
        self.optimizer = torch.optim.AdamW(self.parameters.values(), lr=1e-5)

    def gradients(self) -> Tensor:
        """Return the loss; the gradients are where the optimiser expects them."""
        self.optimizer.zero_grad()
        loss = self.task.loss(self.head(self.represent()))
        loss.backward()
        return loss.detach()

    def step(self) -> None:
        self.gradients()
        self.optimizer.step()

    def train(self, mode: bool) -> None:
        self.encoder.train(mode)
        self.head.train(mode)


def masked_language_model(model: RiNALMo, *, count: int = 32) -> Task:
    """Ragged ncRNAs of 30–300 nt, in the order of the table, of which 15 % of the tokens are to be found again."""
    sequences = load_table("pretrain_ncrna").sequence
    chosen = sequences[sequences.str.len().between(30, 300)].sample(count, random_state=SEED).tolist()
    corpus = ListCorpus([(f"RNA {i}", sequence) for i, sequence in enumerate(chosen)], holdout=0)
    data = MaskedDataset(corpus, seed=SEED, max_tokens=1024)

    def load() -> Any:
        return collate([data[0, i, 0] for i in range(len(chosen))])

    batch = load()
    targets, lengths = batch.tokens[batch.chosen], [len(sequence) for sequence in chosen]
    name = f"{count} ncRNAs of {min(lengths)}–{max(lengths)} nt, masked"
    head = model.lm_mask_head
    return Task(name, load, batch.corrupted, batch.chosen, head, lambda x: F.cross_entropy(x, targets))


def splice_sites(model: RiNALMo, *, count: int = 16) -> Task:
    """Sequences of 400 nt with the splice-site head."""
    table = load_table("splice")
    table = table[table.sequence.str.len() == 400].sample(count, random_state=SEED)
    sequences, labels = table.sequence.tolist(), torch.tensor(table.label.to_numpy()).float()
    tokens = tokenize(sequences)
    return Task(
        f"{count} splice sites of 400 nt",
        lambda: tokenize(sequences),
        tokens,
        (torch.arange(tokens.shape[1]) == 0).expand_as(tokens),
        ClassificationHead(model.config.dim, 128, 1),
        lambda x: F.binary_cross_entropy_with_logits(x[:, 0], labels),
    )


def sides(model: RiNALMo, task: Task, memory: float) -> Iterator[Side]:
    """Ours and all it is compared with, of the same weights; `memory` is how many bytes there are."""
    own = copy.deepcopy(model).requires_grad_()
    head, own.lm_mask_head = task.head, nn.Identity()
    tokens, wanted, config = task.tokens, task.wanted, model.config

    def packed() -> Tensor:
        packing = own.packing(tokens)
        return own.encode(tokens, packing)[wanted[packing.batch_index, packing.positions]]

    yield Side("ours", own, head, task, packed)
    kept = 6 * 4 * len(tokens) * config.heads * tokens.shape[1] ** 2 * config.blocks
    for name, checkpointing in (("official", True), ("official without checkpointing", False)):
        if checkpointing or kept < 0.6 * memory:
            encoder = official.Encoder(config.dim, config.blocks, config.heads, checkpointing=checkpointing)
            encoder.load_state_dict(own.state_dict())
            yield Side(name, encoder, head, task, lambda encoder=encoder: encoder(tokens)[wanted])
        else:
            print(f"  {name}: left out, it needs about {kept / 1e9:.0f} GB")
    if not peers.version():
        print("  multimolecule is not installed here: its line is left out (benchmarks/README.md)")
        return
    for attention in ("sdpa", "eager"):
        peer = peers.Peer(model)
        peer.model.config._attn_implementation = attention
        ids, name = peer.ids[tokens], f"multimolecule {peers.version()}, {attention}"

        def padded(peer: peers.Peer = peer, ids: Tensor = ids) -> Tensor:
            mask = (ids != peers.PAD).long()
            return peer.model(ids, attention_mask=mask).last_hidden_state[wanted]

        if kept < 0.6 * memory:
            yield Side(name, peer.model, head, task, padded)
        else:
            print(f"  {name}: left out, it needs about {kept / 1e9:.0f} GB")


def difference(one: Side, other: Side) -> float:
    """Largest difference in eval mode of the loss and of the gradients both have, relative to the gradient's own."""
    for side in (one, other):
        side.train(False)
    found = [float((one.gradients() - other.gradients()).abs())]
    for name, parameter in one.parameters.items():
        if name in other.parameters:
            gradient, theirs = parameter.grad, other.parameters[name].grad
            found.append(float((gradient - theirs).abs().max() / gradient.abs().max().clamp(min=1e-6)))
    for side in (one, other):
        side.train(True)
    return max(found)
