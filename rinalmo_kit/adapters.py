"""Encoders of the multimolecule package in the place of ours: RNA-FM, UTR-LM, SpliceBERT, RNABERT and others.

So the rows of the paper's comparisons can be computed by the same recipes, and every function that takes a model
takes theirs. multimolecule is AGPL-3.0, optional, and imported only when it is used:
``pip install 'rinalmo-kit[peers]'``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .model import Encoder, Packing
from .peers import (
    find_blocks,
    most_tokens,
    peer_class,
    same_random_state,
    shaping,
    token_table,
    vocabulary_of,
)
from .tokens import VOCABULARY, tokenize

__all__ = ["AdaptedEncoder", "PeerConfig", "adapt", "describe", "rebuild"]


class PeerConfig(NamedTuple):
    """Size of an adapted encoder.

    Attributes
    ----------
    dim : int
        Width of the representation.
    blocks : int
        Number of Transformer blocks.
    heads : int
        Attention heads.
    limit : int or None
        Most tokens of a sequence, ``<cls>`` and ``<eos>`` included; None: no limit.
    """

    dim: int
    blocks: int
    heads: int
    limit: int | None


class AdaptedEncoder(Encoder):
    """Another package's encoder behind our token ids and packed rows; :func:`adapt` makes one.

    Parameters
    ----------
    peer : nn.Module
        As multimolecule's bare encoders: ``peer(input_ids=…, attention_mask=…).last_hidden_state``.
    ids : list of int
        The peer's id of each symbol of :data:`rinalmo_kit.VOCABULARY`.
    """

    def __init__(self, peer: nn.Module, ids: list[int]) -> None:
        super().__init__()
        settings = peer.config
        self.peer = peer
        self.config = PeerConfig(
            settings.hidden_size, settings.num_hidden_layers, settings.num_attention_heads, most_tokens(peer)
        )
        self.register_buffer("ids", torch.tensor(ids), persistent=False)
        self.name = type(peer).__name__
        self.train(peer.training)

    def encode(self, tokens: Tensor, packing: Packing) -> Tensor:
        """Return the representation of every token that is not ``<pad>``, packed: (N, dim).

        Parameters
        ----------
        tokens : Tensor
            int64, (B, L), our ids.
        packing : Packing
            ``self.packing(tokens)``; its attention backend has no meaning here.

        Raises
        ------
        ValueError
            If a sequence is longer than the peer's table of positions; nothing is computed then.
        """
        limit = self.config.limit
        if limit is not None and packing.width > limit:
            row = int(packing.positions.argmax())
            raise ValueError(
                f"{self.name} takes at most {limit} tokens, that is {limit - 2} nucleotides with <cls> and <eos>; "
                f"sequence {int(packing.rows[row]) + 1} of the batch has {packing.width} tokens: "
                "leave longer sequences out, or cut them"
            )
        ids = self.ids[tokens[:, : packing.width]]
        output = self.peer(input_ids=ids, attention_mask=packing.valid.long())
        hidden = getattr(output, "last_hidden_state", None)
        expected = (*ids.shape, self.config.dim)
        if hidden is None or hidden.shape != expected:
            found = "no last_hidden_state" if hidden is None else f"{tuple(hidden.shape)}"
            raise ValueError(
                f"{self.name} gives {found}, expected {expected}, one row for each token with <cls> and <eos>: "
                "adapt a bare encoder that reads single nucleotides, such as RnaFmModel"
            )
        return hidden[packing.rows, packing.positions]

    def layers(self) -> tuple[nn.Module, list[nn.Module], nn.Module | None]:
        """Parts from bottom to top: what comes before the blocks, the blocks, and the last LayerNorm if any."""
        above, name = find_blocks(self.peer, self.config.blocks)
        norm = next((part for part in above.children() if isinstance(part, nn.LayerNorm)), None)
        blocks = getattr(above, name)
        rest = [part for part in self.peer.children() if part is not above]
        if above is not self.peer:
            rest += above.children()
        below = [part for part in rest if part not in (above, blocks, norm)]
        return below[0] if len(below) == 1 else nn.ModuleList(below), list(blocks), norm


def adapt(model: nn.Module, *, tokenizer: Any = None) -> AdaptedEncoder:
    """Make an encoder of multimolecule usable wherever a model of ours is.

    Parameters
    ----------
    model : nn.Module
        A bare encoder, without a task head: multimolecule's ``RnaFmModel``, ``UtrLmModel``, ``SpliceBertModel``,
        ``RnaBertModel``, ``ErnieRnaModel``, ``RnaErnieModel``, ``RnaMsmModel``, ``RiNALMoModel`` are tested. It is
        taken as it is, weights, mode and all, but for its pooler, which is dropped since nothing here uses it.
    tokenizer : optional
        Needed only if the model reads another alphabet than multimolecule's own for RNA.

    Returns
    -------
    AdaptedEncoder
        In training mode if the model is: call ``.eval()`` before you predict, as for any model.

    Raises
    ------
    ValueError
        If its vocabulary is unknown or lacks ``<cls>``, ``<eos>`` or a nucleotide (k-mers and codons do), if it does
        not give one row for each token, or if the padding of a batch changes what a sequence gets.
    ImportError
        If multimolecule is needed for its vocabulary and is not installed.

    Warns
    -----
    UserWarning
        Names the letters that the model does not know, and what it reads instead.

    Notes
    -----
    RNA-FM takes 1022 nucleotides, RNABERT 438, RNAErnie 511; SpliceBERT 1024 or 510, as the checkpoint says;
    models with rotary or sinusoidal positions (RiNALMo, UTR-LM, ERNIE-RNA) take any length.

    Examples
    --------
    >>> from multimolecule import RnaFmConfig, RnaFmModel
    >>> peer = RnaFmModel(RnaFmConfig(hidden_size=48, num_hidden_layers=2, num_attention_heads=4))
    >>> encoder = adapt(peer).eval()
    >>> encoder.config
    PeerConfig(dim=48, blocks=2, heads=4, limit=1024)
    >>> import rinalmo_kit as rk
    >>> [rows.shape for rows in rk.embed(["GGGAAACCC", "ACGU"], model=encoder)]
    [(9, 48), (4, 48)]
    """
    vocabulary = vocabulary_of(model) if tokenizer is None else tokenizer.get_vocab()
    ids = token_table(vocabulary, name=type(model).__name__)
    pad, eos, cls = (getattr(model.config, f"{token}_token_id", None) for token in ("pad", "eos", "bos"))
    if (pad, eos, cls) != tuple(vocabulary[f"<{token}>"] for token in ("pad", "eos", "cls")):
        raise ValueError(
            f"{type(model).__name__} was made with the ids {cls} <cls>, {pad} <pad> and {eos} <eos>, its vocabulary "
            "has others: only encoders that read <cls> and <eos> can be adapted, with the tokenizer they were made for"
        )
    return adapted(model, ids)


def describe(encoder: AdaptedEncoder) -> dict[str, Any]:
    """Describe an adapted encoder, but for its weights, so that :func:`rebuild` can make one like it.

    Returns
    -------
    dict
        JSON-able: ``class``, the name of a class of multimolecule; ``config``, its settings; ``ids``, its id of each
        symbol of our vocabulary.

    Raises
    ------
    ValueError
        If the peer's class is not one of multimolecule's.

    Examples
    --------
    >>> from multimolecule import RnaFmConfig, RnaFmModel
    >>> peer = RnaFmModel(RnaFmConfig(hidden_size=48, num_hidden_layers=2, num_attention_heads=4))
    >>> description = describe(adapt(peer))
    >>> description["class"], rebuild(description).config.dim
    ('RnaFmModel', 48)
    """
    name = type(encoder.peer).__name__
    if peer_class(name) is not type(encoder.peer):
        raise ValueError(f"{name} is not a class of multimolecule.models: a model made of it cannot be saved")
    settings = json.loads(encoder.peer.config.to_json_string(use_diff=False))
    return {"class": name, "config": shaping(settings), "ids": encoder.ids.tolist()}


def rebuild(description: Mapping[str, Any]) -> AdaptedEncoder:
    """Make an adapted encoder from its description, with random weights that are to be replaced.

    Only classes of multimolecule are made, whatever the description says. torch's random state is left as it was.

    Parameters
    ----------
    description : mapping
        From :func:`describe`.

    Returns
    -------
    AdaptedEncoder
        On the CPU, in training mode.

    Raises
    ------
    ValueError
        If the description is not one that :func:`describe` gives.
    ImportError
        If multimolecule is not installed.
    """
    name, settings, ids = (description.get(key) for key in ("class", "config", "ids"))
    if not isinstance(name, str) or not isinstance(settings, Mapping):
        raise ValueError(f"expected the class and config of an encoder, found {name!r} and {settings!r:.80}")
    made = peer_class(name)
    known = shaping(made.config_class().to_dict())
    settings = {key: value for key, value in shaping(settings).items() if key in known}
    if made._supports_sdpa:
        settings["attn_implementation"] = "sdpa"
    with same_random_state():
        peer = made(made.config_class(**settings))
    rows = peer.get_input_embeddings().num_embeddings
    if not isinstance(ids, list) or len(ids) != len(VOCABULARY) or any(i not in range(rows) for i in ids):
        raise ValueError(f"expected {len(VOCABULARY)} token ids below {rows} for {name}, found {ids!r:.80}")
    return adapted(peer, ids)


def adapted(peer: nn.Module, ids: list[int]) -> AdaptedEncoder:
    """Wrap a peer, and try on two short sequences that it does what an encoder has to."""
    if getattr(peer, "pooler", None) is not None:
        peer.pooler = None
    encoder = AdaptedEncoder(peer, ids)
    find_blocks(peer, encoder.config.blocks)
    mode = encoder.training
    encoder.eval()
    with torch.no_grad():
        together, alone = (encoder.encode(t, encoder.packing(t)) for t in _trial(encoder.device))
    encoder.train(mode)
    error = (together[-len(alone) :] - alone).abs().max()
    if not error <= torch.finfo(encoder.dtype).eps ** 0.5 * together.abs().max():
        raise ValueError(
            f"{encoder.name} gives a sequence other numbers in a padded batch than alone "
            f"(difference {error:.2g}): it cannot be adapted"
        )
    return encoder


def _trial(device: torch.device) -> tuple[Tensor, Tensor]:
    return tokenize(["GGGAAACUACCC", "ACGU"]).to(device), tokenize("ACGU").to(device)
