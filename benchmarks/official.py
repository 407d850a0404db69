"""What the official RiNALMo code computes, and how: the reference of the benchmarks.

Our own writing, from the paper and the observed behaviour (spec §1, §3.1, §4); no line is copied. It keeps
the official cost where that matters: padded batches, attention by explicit products on the padded batch, the
L × L × 2·dim tensor of the structure head, one decoding per threshold with a Python loop over all pairs.
Where it was free to choose it took the cheaper way, so that the ratios err on the careful side: no
language-model head, no activation checkpointing, NumPy instead of scikit-learn for the scores.

Parameters have the names of ``rinalmo_kit``, so one state dict serves both.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

PAD, MASK = 1, 4
CANONICAL = {"AU", "UA", "GC", "CG", "GU", "UG"}
THRESHOLDS = [i / 100 for i in range(1, 30)]


class RotaryAttention(nn.Module):
    """Multi-head attention on a padded batch: rotary positions, Q·Kᵀ, key mask, softmax, dropout, ·V."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.Wqkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out_proj = nn.Linear(dim, dim, bias=False)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        batch, length, dim = x.shape
        heads = self.Wqkv(x).view(batch, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = rotary(heads[0]), rotary(heads[1]), heads[2]
        scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(query.shape[-1])
        scores = scores.masked_fill(~valid[:, None, None, :], -math.inf)
        weights = self.dropout(torch.softmax(scores, dim=-1))
        return self.out_proj(torch.matmul(weights, value).transpose(1, 2).reshape(batch, length, dim))


def rotary(x: Tensor) -> Tensor:
    """Rotate the two halves of (batch, heads, length, d_head) against each other, position by position."""
    length, width = x.shape[-2:]
    frequencies = 1.0 / 10000.0 ** (torch.arange(0, width, 2).float() / width)
    angles = torch.outer(torch.arange(length).float(), frequencies).repeat(1, 2)
    first, second = x[..., : width // 2], x[..., width // 2 :]
    return x * angles.cos() + torch.cat((-second, first), dim=-1) * angles.sin()


class GatedLinear(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, hidden)
        self.linear_gate = nn.Linear(dim, hidden)
        self.beta = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        a = self.linear(x)
        return a * torch.sigmoid(self.beta * a) * self.linear_gate(x)


class EncoderBlock(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        hidden = int(2 / 3 * 4 * dim)
        self.mh_attn = RotaryAttention(dim, heads)
        self.attn_layer_norm, self.out_layer_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(0.1)
        self.transition = nn.Sequential(GatedLinear(dim, hidden), nn.Dropout(0.0), nn.Linear(hidden, dim))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = self.attn_layer_norm(x)  # the residual starts here
        x = x + self.dropout(self.mh_attn(x, valid))
        return x + self.dropout(self.transition(self.out_layer_norm(x)))


class Encoder(nn.Module):
    """(batch, length) token ids → (batch, length, dim) representation; meaningless at padding.

    With gradients, each block runs under non-reentrant activation checkpointing, as the official code always has it.
    """

    def __init__(self, dim: int, blocks: int, heads: int, *, checkpointing: bool = True) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.embedding = nn.Embedding(22, dim, padding_idx=PAD)
        self.transformer = nn.Module()
        self.transformer.blocks = nn.ModuleList(EncoderBlock(dim, heads) for _ in range(blocks))
        self.transformer.final_layer_norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        valid, masked = tokens != PAD, tokens == MASK
        x = self.embedding(tokens).masked_fill(masked[..., None], 0.0)
        x = x * ((1 - 0.15 * 0.8) / (1 - masked.sum(-1) / valid.sum(-1)))[:, None, None]
        for block in self.transformer.blocks:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, valid, use_reentrant=False)
            else:
                x = block(x, valid)
        return self.transformer.final_layer_norm(x)


@torch.no_grad()
def encode(model: Encoder, tokens: list[Tensor], batch: int) -> list[Tensor]:
    """Encode in input order, `batch` sequences at a time, each batch padded to its longest."""
    results = []
    for start in range(0, len(tokens), batch):
        padded = nn.utils.rnn.pad_sequence(tokens[start : start + batch], batch_first=True, padding_value=PAD)
        for one, row in zip(tokens[start : start + batch], model(padded), strict=True):
            results.append(row[: len(one)].clone())
    return results


class Bottleneck(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        layers = []
        for kernel in (1, 3, 1):
            convolution = nn.Conv2d(channels, channels, kernel, padding="same", bias=False)
            layers += [convolution, nn.InstanceNorm2d(channels), nn.ReLU()]
        self.conv_net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_net(x)


class PairHead(nn.Module):
    """Structure head on the full L × L × 2·dim tensor, channels first: (1, L, dim) → (1, L, L)."""

    def __init__(self, dim: int, channels: int = 64) -> None:
        super().__init__()
        self.linear_in = nn.Linear(2 * dim, channels)
        self.resnet = nn.Module()
        self.resnet.blocks = nn.ModuleList(Bottleneck(channels) for _ in range(2))
        self.conv_out = nn.Conv2d(channels, 1, 3, padding="same")

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        rows = x[:, :, None].expand(-1, -1, length, -1)
        columns = x[:, None].expand(-1, length, -1, -1)
        y = self.linear_in(torch.cat((rows, columns), dim=-1)).permute(0, 3, 1, 2)
        for block in self.resnet.blocks:
            y = block(y)
        logits = torch.triu(self.conv_out(y).squeeze(1), diagonal=1)
        return logits + logits.transpose(-1, -2)


def decode(probabilities: np.ndarray, sequence: str, threshold: float) -> np.ndarray:
    """Symmetric 0/1 matrix of pairs: forbidden pairs out, then one maximum of the matrix after another."""
    assert np.isclose(probabilities, probabilities.T).all()
    letters = sequence.replace("T", "U")
    length = len(letters)
    allowed = np.zeros((length, length), dtype=bool)
    for i in range(length):
        for j in range(length):
            if abs(i - j) >= 4 and letters[i] + letters[j] in CANONICAL:
                allowed[i, j] = True
    left = np.where(allowed & (probabilities > threshold), probabilities, 0.0)
    structure = np.zeros((length, length), dtype=int)
    while True:
        i, j = divmod(int(left.argmax()), length)
        if not left[i, j] > 0:
            return structure
        structure[i, j] = structure[j, i] = 1
        left[[i, j], :] = 0.0
        left[:, [i, j]] = 0.0


def relaxed(structure: np.ndarray) -> np.ndarray:
    """Pairs and their neighbours along one axis or the other."""
    wide = np.pad(structure, 1)
    around = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    return np.minimum(structure + around, 1)


def scores(target: np.ndarray, predicted: np.ndarray) -> tuple[float, float, float]:
    """Shift-tolerant precision, recall and F1 of two L × L matrices, from their upper triangles."""
    upper = np.triu_indices(len(target), k=1)
    of_predicted, of_target = predicted[upper], target[upper]
    right = (of_predicted * relaxed(target)[upper]).sum()
    found = (of_target * relaxed(predicted)[upper]).sum()
    precision = right / of_predicted.sum() if of_predicted.any() else 0.0
    recall = found / of_target.sum() if of_target.any() else 0.0
    f1 = 0.0 if precision + recall < 1e-5 else 2 * precision * recall / (precision + recall)
    return float(precision), float(recall), float(f1)


def tune(maps: list[tuple[str, np.ndarray, np.ndarray]]) -> tuple[float, np.ndarray]:
    """Best of 29 thresholds for the mean F1, and all scores (29, structures, 3): one decoding for each.

    Each map is a sequence, its target matrix and its probabilities.
    """
    table = np.array(
        [
            [
                scores(target, decode(probabilities, sequence, threshold))
                for sequence, target, probabilities in maps
            ]
            for threshold in THRESHOLDS
        ]
    )
    return THRESHOLDS[int(table[:, :, 2].mean(axis=1).argmax())], table
