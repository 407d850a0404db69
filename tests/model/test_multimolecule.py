"""Encoders of multimolecule behind our interface: numbers, limits, refusals, and what is written and read back."""

from __future__ import annotations

import json
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rinalmo_kit as rk
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.heads import ClassificationHead, StructureHead
from rinalmo_kit.model.multimolecule import adapt, describe, rebuild, token_table
from rinalmo_kit.model.rinalmo import Encoder, RiNALMo
from rinalmo_kit.model.tokenizer import tokenize
from rinalmo_kit.rna.alphabet import VOCABULARY

# name → most tokens with a table of 40 positions, as the packages these models come from have it
PEERS = {
    "RiNALMoModel": None,
    "UtrLmModel": None,
    "ErnieRnaModel": None,
    "RnaFmModel": 38,
    "RnaMsmModel": 40,
    "SpliceBertModel": 40,
    "RnaBertModel": 40,
    "RnaErnieModel": 40,
}
RAGGED = ["GGGAAACUACCC", "ACGU", "A", "RYKMSWBDHVN-IACGU"]

pytestmark = pytest.mark.filterwarnings("ignore:Single sequence input detected")  # RNA-MSM's own


@pytest.fixture(scope="module")
def models() -> ModuleType:
    return pytest.importorskip("multimolecule").models


def small(models: ModuleType, name: str, **settings: object) -> nn.Module:
    """Make a peer whose weights all matter: biases, norms and embeddings are not at their initial values."""
    torch.manual_seed(1)
    made = getattr(models, name)
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    peer = made(made.config_class(**sizes | {"max_position_embeddings": 40} | settings)).eval()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return peer


def encode(encoder: Encoder, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        return encoder.encode(tokens, encoder.packing(tokens))


# numbers


def test_rinalmo_through_the_adapter_is_rinalmo(models):
    from benchmarks.peers import Peer

    model = RiNALMo(Config(64, 3, heads=4)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += (0.5 if "Wqkv" in name else 0.2) * torch.randn_like(parameter)
    # In double precision: this model makes float32's rounding a thousand times larger, on both sides.
    encoder, model = adapt(Peer(model).model).double(), model.double()
    tokens = tokenize(RAGGED)
    tokens[0, 3:6] = VOCABULARY.index("<mask>")
    tokens[1, 2] = VOCABULARY.index("<unk>")
    tokens = torch.nn.functional.pad(tokens, (0, 5), value=VOCABULARY.index("<pad>"))
    ours, theirs = encode(model, tokens), encode(encoder, tokens)
    assert ours.shape == (sum(len(s) + 2 for s in RAGGED), 64)
    assert ours.abs().max() > 1
    assert (ours - theirs).abs().max() < 1e-4


@pytest.mark.parametrize("name", PEERS)
def test_embedding_is_the_peers_own_for_each_sequence_alone(models, name):
    peer = small(models, name)
    tokenizer = pytest.importorskip("multimolecule").RnaTokenizer()
    together = rk.embed(RAGGED, model=adapt(peer))
    for sequence, found in zip(RAGGED, together, strict=True):
        with torch.no_grad():
            expected = peer(**tokenizer(sequence, return_tensors="pt")).last_hidden_state[0, 1:-1]
        np.testing.assert_allclose(found, expected.numpy(), atol=2e-5)


def test_modes_and_precision_are_the_models(models):
    assert adapt(small(models, "RnaFmModel").train()).training
    encoder = adapt(small(models, "RnaFmModel").to(torch.bfloat16))
    assert encoder.dtype == torch.bfloat16 and not encoder.training
    assert rk.embed("ACGU", model=encoder)[0].dtype == np.float32


def test_adapted_encoders_fold_and_predict(models):
    encoder = adapt(small(models, "SpliceBertModel"))
    encoder.head = StructureHead(32).eval()
    folded = rk.fold(["GGGGAAAACCCC"], model=encoder, threshold=0.0)[0]
    assert len(folded.pairs) > 0 and folded.probabilities.shape == (12, 12)
    encoder.head = ClassificationHead(32, 8, 2).eval()
    from rinalmo_kit.inference.prediction import predict

    assert predict(RAGGED, model=encoder)["label"].isin(["class 0", "class 1"]).all()


# layers and limits


@pytest.mark.parametrize("name", PEERS)
def test_layers_hold_every_parameter_once(models, name):
    encoder = adapt(small(models, name))
    below, blocks, norm = encoder.layers()
    assert len(blocks) == encoder.config.blocks == 3
    parts = [below, *blocks, *([norm] if norm is not None else [])]
    found = [parameter for part in parts for parameter in part.parameters()]
    assert len({id(p) for p in found}) == len(found)
    assert {id(p) for p in found} == {id(p) for p in encoder.parameters()}
    order = [name for name, _ in encoder.named_parameters()]
    assert not any("pooler" in name for name in order)


@pytest.mark.parametrize(
    "name", ["RiNALMoModel", "RnaFmModel", "UtrLmModel", "SpliceBertModel", "RnaBertModel"]
)
def test_every_parameter_is_trained(models, name):
    encoder = adapt(small(models, name)).train()
    tokens = tokenize(RAGGED)
    encoder.encode(tokens, encoder.packing(tokens)).pow(2).sum().backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())


@pytest.mark.parametrize("name", PEERS)
def test_limit_is_where_the_peer_ends(models, name):
    limit = PEERS[name]
    peer = small(models, name)
    encoder = adapt(peer)
    assert encoder.config.limit == limit
    if limit is None:
        assert rk.embed("ACGU" * 50, model=encoder)[0].shape == (200, 32)
        return
    assert rk.embed("A" * (limit - 2), model=encoder)[0].shape == (limit - 2, 32)
    with pytest.raises(ValueError, match=f"{name} takes at most {limit} tokens.*{limit - 2} nucleotides"):
        rk.embed("A" * (limit - 1), model=encoder)
    too_long = torch.full((1, limit + 1), 6)
    with pytest.raises((IndexError, RuntimeError)), torch.no_grad():
        peer(input_ids=too_long, attention_mask=torch.ones_like(too_long))


def test_limit_names_the_sequence(models):
    encoder = adapt(small(models, "RnaBertModel"))
    tokens = tokenize(["ACGU", "A" * 50, "AC"])
    with pytest.raises(ValueError, match="sequence 2 of the batch has 52 tokens"):
        encode(encoder, tokens)


def test_limits_of_the_released_models(models):
    limits = {"RnaFmModel": 1024, "RnaBertModel": 440, "RnaErnieModel": 513, "SpliceBertModel": 1026}
    for name, limit in limits.items():
        positions = getattr(models, name).config_class().max_position_embeddings
        assert adapt(small(models, name, max_position_embeddings=positions)).config.limit == limit


# what cannot be adapted


@pytest.mark.parametrize("name", ["UtrBertModel", "CaLmModel"])
def test_kmers_and_codons_are_refused(models, name):
    with pytest.raises(ValueError, match=r"vocabulary of 131.*k-mers or codons"):
        adapt(small(models, name))


def test_kmer_tokenizer_is_rejected(models):
    tokenizer = pytest.importorskip("multimolecule").RnaTokenizer(nmers=3)
    with pytest.raises(ValueError, match="UtrBertModel does not have A C G T"):
        adapt(small(models, "UtrBertModel"), tokenizer=tokenizer)


def test_model_that_padding_changes_is_refused(models):
    with pytest.raises(ValueError, match="other numbers in a padded batch than alone"):
        adapt(small(models, "RibonanzaNetModel"))


def test_model_with_a_head_is_refused(models):
    with pytest.raises(ValueError, match=r"no last_hidden_state.*adapt a bare encoder"):
        adapt(small(models, "RnaFmForSequencePrediction"))


def test_model_without_cls_is_refused(models):
    peer = small(models, "RnaFmModel")
    peer.config.bos_token_id = None
    with pytest.raises(ValueError, match=r"None <cls>.*only encoders that read <cls> and <eos>"):
        adapt(peer)


# vocabularies


def test_unknown_letters_are_named_once(models):
    peer = small(models, "RnaFmModel", vocab_size=11)  # A C G U N
    with pytest.warns(
        UserWarning, match="RnaFmModel does not know I R Y K M S W B D H V -: it will read N"
    ) as seen:
        encoder = adapt(peer)
    assert len(seen) == 1
    np.testing.assert_array_equal(*rk.embed(["ARYU", "ANNU"], model=encoder))


def test_table_of_a_dna_vocabulary():
    dna = {
        symbol: 30 - i for i, symbol in enumerate(["<pad>", "<cls>", "<eos>", "<unk>", "<mask>", *"ACGTN"])
    }
    with pytest.warns(UserWarning, match="peer does not know I R"):
        ids = token_table(dna, name="peer")
    assert [ids[VOCABULARY.index(s)] for s in ("<pad>", "<mask>", "T", "N", "R")] == [30, 26, 22, 21, 21]


@pytest.mark.parametrize("missing", ["<cls>", "G"])
def test_incomplete_vocabulary_is_refused(missing):
    vocabulary = {symbol: i for i, symbol in enumerate(VOCABULARY) if symbol != missing}
    with pytest.raises(ValueError, match=f"the vocabulary of peer does not have {missing}:"):
        token_table(vocabulary, name="peer")


# writing and reading


@pytest.mark.parametrize("name", PEERS)
def test_rebuilt_from_its_description(models, name):
    encoder = adapt(small(models, name))
    before = torch.get_rng_state()
    description = describe(encoder)
    again = rebuild(json.loads(json.dumps(description)))
    assert torch.equal(torch.get_rng_state(), before)
    tokens = tokenize(RAGGED)
    assert not torch.allclose(encode(again.eval(), tokens), encode(encoder, tokens))
    again.load_state_dict(encoder.state_dict(), strict=True)
    torch.testing.assert_close(encode(again, tokens), encode(encoder, tokens), atol=2e-5, rtol=0)
    assert again.config == encoder.config and again.name == encoder.name == name
    assert not any(key.startswith("_") for key in description["config"]), "may hold a path of this machine"


def test_saved_and_loaded(models, tmp_path):
    encoder = adapt(small(models, "RnaFmModel"))
    encoder.head, encoder.labels = ClassificationHead(32, 8, 2).eval(), ("yes", "no")
    loaded = rk.load(rk.save(encoder, tmp_path / "rnafm.safetensors"), device="cpu")
    assert loaded.labels == ("yes", "no")
    np.testing.assert_allclose(
        rk.embed("ACGUACGU", model=loaded)[0], rk.embed("ACGUACGU", model=encoder)[0], atol=1e-5
    )
    assert loaded.head.state_dict().keys() == encoder.head.state_dict().keys()


@pytest.mark.parametrize(
    "name", ["os", "__name__", "rnafm", "RnaFmConfig", "RnaTokenizer", "torch.nn.Linear", None]
)
def test_nothing_but_encoders_is_made(models, name):
    description = describe(adapt(small(models, "RnaFmModel")))
    with pytest.raises(ValueError, match=r"is not an encoder of multimolecule|expected the class and config"):
        rebuild(description | {"class": name})


@pytest.mark.parametrize(
    "ids", [None, [0, 1], [*range(21), 28], [*range(21), "x"], [*range(21), -1], [*range(21), [1]]]
)
def test_damaged_ids_are_refused(models, ids):
    description = describe(adapt(small(models, "RnaFmModel")))
    with pytest.raises(ValueError, match="expected 22 token ids below 28 for RnaFmModel"):
        rebuild(description | {"ids": ids})


def test_description_cannot_choose_foreign_attention_code(models):
    description = describe(adapt(small(models, "RnaFmModel")))
    foreign = {
        "_attn_implementation": "someone/kernel",
        "attn_implementation": "someone/kernel",
        "auto_map": {},
    }
    settings = rebuild(description | {"config": description["config"] | foreign}).peer.config
    assert settings._attn_implementation == "sdpa" and not hasattr(settings, "auto_map")


def test_class_from_elsewhere_is_not_described(models):
    class RnaFmModel(models.RnaFmModel):
        pass

    encoder = adapt(RnaFmModel(small(models, "RnaFmModel").config))
    with pytest.raises(ValueError, match="RnaFmModel is not a class of multimolecule"):
        describe(encoder)


# the package


def test_absent_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "multimolecule", None)
    with pytest.raises(ImportError, match=r"pip install 'rinalmo-kit\[peers\]'"):
        rebuild({"class": "RnaFmModel", "config": {}, "ids": []})


def test_using_the_package_leaves_the_random_state(models):
    code = """
import sys, torch
from types import SimpleNamespace
from rinalmo_kit.model.multimolecule import multimolecule, peer_class, vocabulary_of
assert "multimolecule" not in sys.modules
torch.manual_seed(5)
expected = torch.rand(3)
model = SimpleNamespace(config=SimpleNamespace(vocab_size=28))
for use in (multimolecule, lambda: peer_class("RnaFmModel"), lambda: vocabulary_of(model)):
    torch.manual_seed(5)
    use()
    assert torch.equal(torch.rand(3), expected), use
assert "multimolecule" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
