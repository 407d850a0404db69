"""Export of structure models as ONNX: a file that folds in other programs and languages, without torch."""

from __future__ import annotations

import copy
import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._utils.defaults import STRUCTURE
from .._utils.extras import optional
from .._utils.files import atomic_write, user_path
from ..rna.alphabet import MASK, VOCABULARY
from ..rna.rules import Decoding
from .blocks import Block, SwiGLU
from .heads import StructureHead
from .licences import licence_of
from .pretrained import ready_model
from .rinalmo import MASK_RATE, Encoder, RiNALMo
from .tokenizer import tokenize

__all__ = ["PairNetwork", "export_onnx", "onnx_metadata"]

LARGEST = 2**31 - 2**24
"""Bytes of weights that one ONNX file, a protobuf message, can hold."""


OPSET = 17


TOLERANCE = 1e-3


ABSENT = "ONNX needs onnx and onnxruntime: pip install 'rinalmo-kit[onnx]'"


class PairNetwork(nn.Module):
    """A structure model as a plain function of the tokens of one RNA, in operations that ONNX has.

    The same numbers as the model's own ways, which work in place, in strips and on packed batches
    (docs/model_specification.md §1, §3.1).

    Parameters
    ----------
    model : RiNALMo
        With a structure head.

    Examples
    --------
    >>> from rinalmo_kit import load, tokenize
    >>> logits, probabilities = PairNetwork(load("nano-ss", device="cpu"))(tokenize("GGGGAAAACCCC"))
    >>> probabilities.shape, bool((probabilities == probabilities.T).all())
    (torch.Size([12, 12]), True)
    """

    def __init__(self, model: RiNALMo) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pairing logits and probabilities, each (L, L), of tokens, int64 (1, L + 2)."""
        x = _embedded(self.model, tokens[0])
        angles = _angles(x.shape[0], self.model.config.dim // self.model.config.heads, x)
        for block in self.model.transformer.blocks:
            x = _block_output(cast(Block, block), x, angles)
        x = self.model.transformer.final_layer_norm(x)
        logits = _pair_logits(cast(StructureHead, self.model.head), x[1:-1])
        return logits, logits.sigmoid()


def _embedded(model: RiNALMo, ids: Tensor) -> Tensor:
    """Look up and rescale the input embeddings: (L + 2, dim)."""
    masked = (ids == MASK).unsqueeze(-1)
    kept = 1 - masked.to(torch.float32).mean()
    return torch.where(masked, 0.0, model.embedding(ids)) * ((1 - MASK_RATE) / kept)


def _angles(length: int, d_head: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of the rotary angles, (length, d_head / 2)."""
    steps = torch.arange(0, d_head, 2, dtype=torch.float32, device=like.device)
    positions = torch.arange(length, dtype=torch.float32, device=like.device)
    angles = positions.unsqueeze(-1) * 10000.0 ** (-steps / d_head)
    return angles.cos(), angles.sin()


def _block_output(block: Block, x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Return a block's output for one sequence: (L + 2, dim)."""
    y = block.attn_layer_norm(x)
    attention, (cos, sin) = block.mh_attn, angles
    q, k, v = attention.Wqkv(y).unflatten(-1, (3, attention.heads, -1)).permute(1, 2, 0, 3).unbind(0)
    q, k = (_rotated(one, cos, sin) for one in (q, k))
    weights = (q @ k.transpose(-1, -2) * (attention.heads / y.shape[-1]) ** 0.5).softmax(-1)
    x = y + attention.out_proj((weights @ v).transpose(0, 1).flatten(1))
    z = block.out_layer_norm(x)
    gated, out = cast(SwiGLU, block.transition[0]), block.transition[2]
    a = gated.linear(z)
    return x + out(a * torch.sigmoid(gated.beta * a) * gated.linear_gate(z))


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions, half-split: x is (heads, L + 2, d_head)."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def _pair_logits(head: StructureHead, representation: Tensor) -> Tensor:
    """Return the head's logits for one sequence: (L, dim) → (L, L)."""
    parts = [F.linear(representation, side).T for side in head.linear_in.weight.chunk(2, dim=1)]
    means = [part.mean(1, keepdim=True) for part in parts]
    rows, columns = (part - mean for part, mean in zip(parts, means, strict=True))
    x = (rows.unsqueeze(2) + columns.unsqueeze(1)).unsqueeze(0)  # (1, channels, L, L)
    for convolutions in head.resnet.convolutions():
        y = x
        for key in ("0", "3", "6"):
            y = F.relu(F.instance_norm(convolutions[key](y)))
        x = x + y
    constant = (means[0] + means[1]).unsqueeze(-1) + head.linear_in.bias.view(-1, 1, 1)
    upper = head.conv_out(x + constant)[0, 0].triu(1)
    return upper + upper.T


def export_onnx(path: str | os.PathLike, *, model: Encoder | str | os.PathLike = STRUCTURE) -> Path:
    """Write a structure model as ONNX, encoder and head, for sequences of every length.

    The input is ``tokens``, int64 (1, L + 2): the ids of ``<cls>``, the nucleotides and ``<eos>``. The outputs are
    ``pair_logits`` and ``pair_probabilities``, float32 (L, L), symmetric. What a program needs beside them is in the
    file's metadata (:func:`onnx_metadata`). The probabilities are those of the network alone, as of
    ``fold(…, energy=None)``: energies are mixed in by :func:`rinalmo_kit.fold`, not in the file. Before the file
    appears, onnxruntime's logits of two sequences, of other lengths than the export saw, are compared with torch's.

    Parameters
    ----------
    path : path
        Ends in ``.onnx``.
    model : RiNALMo, name or path
        With a structure head.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        For another ending; for a model that is not a RiNALMo with a structure head, or whose weights do not fit one
        ONNX file (2 GB); if a logit of the file differs by 1e-3 or more.
    ImportError
        Without onnx and onnxruntime: ``pip install 'rinalmo-kit[onnx]'``.

    Examples
    --------
    >>> import tempfile
    >>> export_onnx(f"{tempfile.mkdtemp()}/nano-ss.onnx").stat().st_size // 2**20  # doctest: +SKIP
    28
    """
    path = user_path(path)
    if path.suffix.lower() != ".onnx":
        raise ValueError(f"{path}: a model is exported as .onnx")
    whole = _exportable(model)
    onnx = optional("onnx", ABSENT, needs=("load_from_string", "helper"))
    optional("onnxruntime", ABSENT, needs=("InferenceSession",))
    network = PairNetwork(whole).eval()
    proto = onnx.load_from_string(_traced(network))
    onnx.helper.set_model_props(proto, onnx_metadata(whole))
    content = proto.SerializeToString()
    _compare(content, network, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return path


def _exportable(model: Encoder | str | os.PathLike) -> RiNALMo:
    """Return a copy of a model that can be exported, on the CPU in float32."""
    model = ready_model(model)
    if type(model) is not RiNALMo or not isinstance(model.head, StructureHead):
        head = "no task head" if model.head is None else f"a {type(model.head).__name__}"
        raise ValueError(
            f"{model.name} cannot be exported as ONNX: it is a {type(model).__name__} with {head}; expected a RiNALMo "
            f"with a structure head, such as {STRUCTURE!r}"
        )
    size = 4 * sum(parameter.numel() for parameter in model.parameters())
    if size > LARGEST:
        raise ValueError(
            f"{model.name} cannot be exported as ONNX: its weights take {size / 1e9:.1f} GB in float32, and one file "
            "holds at most 2.1 GB"
        )
    return copy.deepcopy(model).to(device="cpu", dtype=torch.float32)


def onnx_metadata(model: Encoder) -> dict[str, str]:
    """Return what an exported file says of its model, each entry as text.

    Returns
    -------
    dict of str
        ``model``, its name; ``licence``; ``alphabet``, a JSON object from the symbols to their ids, U for T among them;
        ``threshold`` of the greedy decoding (docs/model_specification.md §4.1); ``decoding``, a JSON object of the
        rules by which :func:`rinalmo_kit.fold` decodes the network's own probabilities.

    Examples
    --------
    >>> from rinalmo_kit import load
    >>> found = onnx_metadata(load("nano-ss", device="cpu"))
    >>> found["threshold"], json.loads(found["alphabet"])["G"], json.loads(found["decoding"])["method"]
    ('0.23', 7, 'mea')
    """
    rules, licence = model.info.decoding or Decoding(), licence_of(model)
    decoding: dict[str, Any] = {"method": rules.method, "canonical_only": True, "min_loop": 4}
    if rules.method == "mea":
        decoding |= {"gamma": rules.gamma_alone, "pseudoknots": rules.pseudoknots}
    return {
        "model": model.name,
        "licence": "unknown" if licence is None else licence.words,
        "alphabet": json.dumps(
            {symbol: number for number, symbol in enumerate(VOCABULARY)} | {"U": VOCABULARY.index("T")}
        ),
        "threshold": str(0.5 if model.threshold is None else model.threshold),
        "decoding": json.dumps(decoding),
    }


def _traced(network: PairNetwork) -> bytes:
    """Return the ONNX file of a network.

    torch's exporter by TorchScript, which needs 3 s where that by torch.export needs 60 and one more package, gives the
    same graph, since the network has no branches.
    """
    length = {0: "L", 1: "L"}
    with warnings.catch_warnings(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "network.onnx")
        warnings.simplefilter(
            "ignore"
        )  # that there is another exporter; that instance_norm looks at its input
        torch.onnx.export(
            network,
            (tokenize("ACGUACGUACGU"),),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=["tokens"],
            output_names=["pair_logits", "pair_probabilities"],
            dynamic_axes={"tokens": {1: "L + 2"}, "pair_logits": length, "pair_probabilities": length},
        )
        return file.read_bytes()


def _compare(content: bytes, network: PairNetwork, source: str) -> None:
    """Raise ValueError unless onnxruntime gives a network's logits within :data:`TOLERANCE`."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for sequence in ("GGC", "GGGGCUAUAGCUCAGNNNGGAGAGCGCCUGCUUUGCACGCAGGAGGUC"):
        tokens = tokenize(sequence)
        with torch.no_grad():
            expected = network(tokens)[0].numpy()
        error = abs(session.run(["pair_logits"], {"tokens": tokens.numpy()})[0] - expected).max()
        if not error < TOLERANCE:
            raise ValueError(
                f"{source} was not written: onnxruntime's logits of {sequence} differ by {error:.2g} from torch's"
            )
