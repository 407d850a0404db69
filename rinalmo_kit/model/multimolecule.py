"""External encoders, of the multimolecule package, in place of ours: RNA-FM, UTR-LM, SpliceBERT and others.

So the rows of the paper's comparisons can be computed by the same recipes, and every function that takes a model
takes theirs. multimolecule is AGPL-3.0, optional, and imported only when it is used:
``pip install 'rinalmo-kit[peers]'``.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._utils.extras import importing
from .._utils.warn import warn_user
from ..rna.alphabet import VOCABULARY
from .attention import PackedBatch
from .rinalmo import Encoder
from .tokenizer import tokenize

__all__ = ["AdaptedEncoder", "ExternalConfig", "adapt", "describe", "rebuild"]

ALPHABETS = ("standard", "iupac", "streamline", "nucleobase")
"""Alphabets of multimolecule's RnaTokenizer, with 28 (spec §1.2), 22, 11 and 10 tokens."""


NEEDED = ("<cls>", "<pad>", "<eos>", *"ACGT")
"""Symbols that a vocabulary must have; ``N`` or ``<unk>`` may stand in for the others."""


LARGEST, FEW, MOST_BYTES = 100_000, 128, 2**30
"""Of a description that anyone may have written: any number, numbers of things, and memory of what is not learned."""


UNUSED_SETTINGS = ("architectures", "dtype", "transformers_version")
"""Entries of an external encoder's configuration that do not shape it, besides those whose names begin with ``_``."""


class ExternalConfig(NamedTuple):
    """Size of an external encoder.

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
        The external encoder's id of each symbol of :data:`rinalmo_kit.VOCABULARY`.
    """

    config: ExternalConfig
    ids: Tensor

    def __init__(self, peer: nn.Module, ids: list[int]) -> None:
        super().__init__()
        settings: Any = peer.config
        self.peer = peer
        self.config = ExternalConfig(
            settings.hidden_size, settings.num_hidden_layers, settings.num_attention_heads, most_tokens(peer)
        )
        self.register_buffer("ids", torch.tensor(ids), persistent=False)
        self.name = type(peer).__name__
        self.train(peer.training)

    def encode(self, tokens: Tensor, packing: PackedBatch) -> Tensor:
        """Return the representation of every token that is not ``<pad>``, packed: (N, dim).

        Parameters
        ----------
        tokens : Tensor
            int64, (B, L), our ids.
        packing : PackedBatch
            ``self.packing(tokens)``; its attention backend has no meaning here.

        Raises
        ------
        ValueError
            If a sequence is longer than the external encoder's table of positions; nothing is computed then.
        """
        limit = self.config.limit
        if limit is not None and packing.width > limit:
            row = int(packing.positions.argmax())
            raise ValueError(
                f"{self.name} takes at most {limit} tokens, that is {limit - 2} nucleotides with <cls> and <eos>; "
                f"sequence {int(packing.batch_index[row]) + 1} of the batch has {packing.width} tokens: "
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
        return hidden[packing.batch_index, packing.positions]

    def block_outputs(self, tokens: Tensor, packing: PackedBatch, numbers: Sequence[int]) -> list[Tensor]:
        """Return the outputs of some blocks, numbered from 1, each packed: (N, dim)."""
        found: dict[int, Tensor] = {}

        def keep(number: int, output: Any) -> None:
            hidden = output if isinstance(output, Tensor) else output[0]
            found[number] = hidden[packing.batch_index, packing.positions]

        blocks = self.layers()[1]
        hooks = [
            blocks[number - 1].register_forward_hook(
                lambda _, __, output, number=number: keep(number, output)
            )
            for number in set(numbers)
        ]
        try:
            self.encode(tokens, packing)
        finally:
            for hook in hooks:
                hook.remove()
        return [found[number] for number in numbers]

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
        If its vocabulary is unknown or without ``<cls>``, ``<eos>`` or a nucleotide (k-mers and codons), if it does
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
    ExternalConfig(dim=48, blocks=2, heads=4, limit=1024)
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
        If the external encoder's class is not one of multimolecule's.

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
    config: Any = encoder.peer.config
    settings = json.loads(config.to_json_string(use_diff=False))
    return {"class": name, "config": shaping(settings), "ids": encoder.ids.tolist()}


def rebuild(description: Mapping[str, Any]) -> AdaptedEncoder:
    """Make an adapted encoder from its description, with random weights, to be replaced.

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
    with sense():
        return adapted(*described(description))


def outline(description: Mapping[str, Any], *, most: int) -> AdaptedEncoder:
    """Make what :func:`rebuild` makes on the device meta, without memory for weights: names and shapes alone.

    Parameters
    ----------
    description : mapping
        From anyone.
    most : int
        Tensors that there are to fill it with, and so most blocks that it can have.

    Raises
    ------
    ValueError
        As :func:`rebuild`, and for a description of something too large.
    """
    check_sizes(description, most=max(most, FEW))
    with sense(), torch.device("meta"):
        encoder = AdaptedEncoder(*described(description))
    if sum(buffer.nbytes for buffer in encoder.buffers()) > MOST_BYTES:
        raise ValueError(f"{encoder.name}: its settings ask for more than {MOST_BYTES:,} bytes of tables")
    return encoder


def described(description: Mapping[str, Any]) -> tuple[nn.Module, list[int]]:
    """Build the external encoder of a description, and check the ids of our symbols in it."""
    name, settings, ids = (description.get(key) for key in ("class", "config", "ids"))
    if not isinstance(name, str) or not isinstance(settings, Mapping):
        raise ValueError(
            f"expected the class and config of an encoder, found {reprlib.repr(name)} and {reprlib.repr(settings)}"
        )
    made: Any = peer_class(name)
    known = shaping(made.config_class().to_dict())
    settings = {key: value for key, value in shaping(settings).items() if key in known}
    if made._supports_sdpa:
        settings["attn_implementation"] = "sdpa"
    with same_random_state():
        peer = made(made.config_class(**settings))
    drop_pooler(peer)
    rows = peer.get_input_embeddings().num_embeddings
    if not isinstance(ids, list) or len(ids) != len(VOCABULARY) or any(i not in range(rows) for i in ids):
        raise ValueError(
            f"expected {len(VOCABULARY)} token ids below {rows} for {name}, found {reprlib.repr(ids)}"
        )
    return peer, ids


@contextmanager
def sense() -> Iterator[None]:
    """Raise ValueError for whatever exception an invalid description causes in another package."""
    try:
        yield
    except (ValueError, ImportError):
        raise
    except Exception as error:
        raise ValueError(
            f"no encoder can be made of this description: {type(error).__name__}: {str(error)[:300]}"
        ) from error


def check_sizes(settings: Any, *, most: int, key: str = "config") -> None:
    """Raise ValueError for a number beyond :data:`LARGEST`, or for more than `most` of anything (``num_…``)."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            check_sizes(value, most=most, key=name)
    elif isinstance(settings, list):
        for value in settings:
            check_sizes(value, most=most, key=key)
    elif isinstance(settings, int):
        limit = most if key.startswith("num_") else LARGEST
        if abs(settings) > limit:
            raise ValueError(f"{key}={settings}: expected at most {limit:,}")


def adapted(peer: nn.Module, ids: list[int]) -> AdaptedEncoder:
    """Wrap an external encoder, and test on two short sequences that padding does not change its output."""
    drop_pooler(peer)
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


def drop_pooler(peer: Any) -> None:
    """Remove the pooler of a multimolecule encoder, which nothing here uses."""
    if getattr(peer, "pooler", None) is not None:
        peer.pooler = None


def _trial(device: torch.device) -> tuple[Tensor, Tensor]:
    return tokenize(["GGGAAACUACCC", "ACGU"]).to(device), tokenize("ACGU").to(device)


# --- what the encoders of multimolecule are like -------------------------------------------------------


@contextmanager
def same_random_state() -> Iterator[None]:
    """Leave torch's random state as it was: parts of multimolecule seed it when they are first used."""
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=gpus):
        yield


def find_blocks(peer: nn.Module, number: int) -> tuple[nn.Module, str]:
    """Find the list of Transformer blocks: the module that holds it, and its name there."""
    for above in peer.modules():
        for name, part in above.named_children():
            if isinstance(part, nn.ModuleList) and len(part) == number:
                return above, name
    raise ValueError(f"{type(peer).__name__} has no list of {number} blocks, as its configuration says")


def most_tokens(peer: nn.Module) -> int | None:
    """Return the most tokens that an external encoder has positions for; None: any number.

    fairseq's tables (RNA-FM, RNA-MSM) know their padding; their first position comes two rows after it.
    """
    most = getattr(peer.config, "max_position_embeddings", None)
    for name, part in peer.named_modules():
        if name.endswith("distance_embedding"):
            return most
        learned = isinstance(part, nn.Embedding) and isinstance(part.weight, nn.Parameter)
        if learned and name.endswith("position_embeddings"):
            rows = part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 2)
            return min(rows, most or rows)
    return None


@same_random_state()
def vocabulary_of(model: nn.Module) -> dict[str, int]:
    """Return the token ids of an external encoder, recognised by the size of its vocabulary."""
    size = getattr(model.config, "vocab_size", None)
    package = multimolecule()
    for alphabet in ALPHABETS:
        vocabulary = package.RnaTokenizer(alphabet=alphabet).get_vocab()
        if len(vocabulary) == size:
            return vocabulary
    raise ValueError(
        f"{type(model).__name__} has a vocabulary of {size}, which is none of multimolecule's for single RNA "
        "nucleotides; pass tokenizer=…. Models of k-mers or codons cannot be adapted: they have no row a nucleotide"
    )


def token_table(vocabulary: Mapping[str, int], *, name: str) -> list[int]:
    """Return the id of each symbol of our vocabulary in another one; U and T are the same.

    Examples
    --------
    >>> ours = {symbol: i for i, symbol in enumerate(VOCABULARY)}
    >>> token_table(ours, name="ours") == list(range(22))
    True
    """
    ids = {symbol: vocabulary[symbol] for symbol in VOCABULARY if symbol in vocabulary}
    if "U" in vocabulary:
        ids["T"] = vocabulary["U"]
    if missing := [symbol for symbol in NEEDED if symbol not in ids]:
        raise ValueError(
            f"the vocabulary of {name} does not have {' '.join(missing)}: expected <cls>, <eos>, <pad> and one token a "
            "nucleotide (models of k-mers or codons cannot be adapted)"
        )
    stand_in = next((symbol for symbol in ("N", "<unk>") if symbol in ids), "")
    if absent_symbols := [symbol for symbol in VOCABULARY if symbol not in ids]:
        if not stand_in:
            raise ValueError(
                f"the vocabulary of {name} has neither {' '.join(absent_symbols)} nor N or <unk>"
            )
        warn_user(f"{name} does not know {' '.join(absent_symbols)}: it will read {stand_in}")
    return [ids[symbol if symbol in ids else stand_in] for symbol in VOCABULARY]


def shaping(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that shape an external encoder."""
    return {k: v for k, v in settings.items() if not k.startswith("_") and k not in UNUSED_SETTINGS}


@same_random_state()
def peer_class(name: str) -> type[nn.Module]:
    """Find an encoder's class in multimolecule.models by its name, and nowhere else."""
    found = getattr(multimolecule().models, name, None)
    if (
        isinstance(found, type)
        and found.__module__.startswith("multimolecule.models.")
        and issubclass(found, nn.Module)
        and hasattr(found, "config_class")
    ):
        return found
    raise ValueError(f"{name!r} is not an encoder of multimolecule.models")


@same_random_state()
def multimolecule() -> ModuleType:
    """Import multimolecule, or say how to get it."""
    absent = "encoders of other groups need multimolecule (AGPL-3.0): pip install 'rinalmo-kit[peers]'"
    with importing("multimolecule", absent):
        import multimolecule
        import multimolecule.models
    return multimolecule
