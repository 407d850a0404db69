"""Embeddings of chosen blocks, other pools, and whitening: fitted, stored with the model, rejected where damaged."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import rinalmo_kit as rk
from rinalmo_kit import cli
from rinalmo_kit.inference import bulk
from rinalmo_kit.inference.embedding import fit_whitening
from rinalmo_kit.model.config import Config
from rinalmo_kit.model.rinalmo import RiNALMo
from rinalmo_kit.model.whitening import whitening_of
from tests.helpers.model_files import content, rejected, small

RNAS = ["GGGAAACCC", "ACGU" * 9, "GGCUUCGGCC", "AUAUAUAGCGC", "CCCCUUUUGGGG", "GAUCGAUCCGAUAG", "AAAA", "UGC"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return RiNALMo(Config(16, 3, heads=2)).eval()


@torch.no_grad()
def rows_by_hooks(model, sequence, number):
    """Return what the last LayerNorm would get if the model ended after a block, from the plain forward pass."""
    found = []
    hook = model.transformer.blocks[number - 1].register_forward_hook(lambda *args: found.append(args[2]))
    model(rk.tokenize([sequence]))
    hook.remove()
    return found[0][1:-1].numpy()


def test_a_layer_is_the_output_of_its_block(model):
    for number in (1, 2, 3):
        [rows, _] = rk.embed(RNAS[:2], model=model, layer=number)
        np.testing.assert_allclose(rows, rows_by_hooks(model, RNAS[0], number), atol=1e-5)
        [same, _] = rk.embed(RNAS[:2], model=model, layer=number - 4)
        np.testing.assert_array_equal(rows, same)


def test_the_default_is_the_last_block_after_the_last_layer_norm(model):
    [last], [rows] = rk.embed(RNAS[1], model=model, layer=-1), rk.embed(RNAS[1], model=model)
    with torch.no_grad():
        normed = model.transformer.final_layer_norm(torch.tensor(last)).numpy()
    np.testing.assert_allclose(rows, normed, atol=1e-5)
    assert np.abs(rows - last).max() > 0.01


@pytest.mark.parametrize("pool", [None, "cls", "mean", "std", "max"])
def test_several_layers_are_averaged(pool, model):
    means = rk.embed(RNAS, model=model, layer=range(1, 3))
    one, two = (rk.embed(RNAS, model=model, layer=k) for k in (1, 2))
    for mean, a, b in zip(means, one, two, strict=True):
        np.testing.assert_allclose(mean, (a + b) / 2, atol=1e-6)
    pooled = rk.embed(RNAS, model=model, layer=[2, 1, -2], pool=pool)
    if pool == "mean":
        np.testing.assert_allclose(pooled, [rows.mean(0) for rows in means], atol=1e-6)
    elif pool == "std":
        np.testing.assert_allclose(pooled, [rows.std(0) for rows in means], atol=1e-5)
    elif pool is None:
        np.testing.assert_array_equal(pooled[1], means[1])


@pytest.mark.parametrize("layer", [0, 4, -4, 1.5, "1", [], [1, 9], True, [True]])
def test_a_layer_that_there_is_not(layer, model):
    with pytest.raises(ValueError, match=r"layer=.*(3 blocks|whole number)"):
        rk.embed("ACGU", model=model, layer=layer)


def test_layers_of_an_adapted_encoder():
    multimolecule = pytest.importorskip("multimolecule")
    from rinalmo_kit.model.multimolecule import adapt

    torch.manual_seed(0)
    config = multimolecule.RnaFmConfig(hidden_size=48, num_hidden_layers=2, num_attention_heads=4)
    encoder = adapt(multimolecule.RnaFmModel(config)).eval()
    first, last = (rk.embed(RNAS, model=encoder, layer=k) for k in (1, 2))
    norm = encoder.layers()[2]
    with torch.no_grad():
        for rows, below, whole in zip(last, first, rk.embed(RNAS, model=encoder), strict=True):
            assert np.abs(rows - below).max() > 1e-3
            expected = rows if norm is None else norm(torch.tensor(rows)).numpy()
            np.testing.assert_allclose(whole, expected, atol=1e-5)
    mean = rk.embed(RNAS, model=encoder, layer=[1, 2], pool="mean")
    np.testing.assert_allclose(
        mean, [(a + b).mean(0) / 2 for a, b in zip(first, last, strict=True)], atol=1e-5
    )


# whitening


def test_whitened_vectors_are_uncorrelated_and_of_length_one():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6)) * [1, 10, 50, 0.1, 5, 0] + 7
    whitening = whitening_of(vectors, pool="mean")
    assert whitening.width == 5  # a coordinate that is always the same counts nothing
    np.testing.assert_allclose(np.linalg.norm(whitening.apply(vectors), axis=1), 1, atol=1e-5)
    mapped = (vectors - whitening.mean) @ whitening.matrix.astype(float)
    covariance = np.cov(mapped.T)
    np.testing.assert_allclose(covariance / covariance[0, 0], np.eye(5), atol=0.02)
    np.testing.assert_allclose(whitening.apply(vectors[3]), whitening.apply(vectors)[3], rtol=1e-5)


def whitened(model, **options):
    model.info.whitening = fit_whitening(RNAS, model=model, width=4, **options)
    return model


@pytest.mark.parametrize("layer", [None, [1, -1]])
@pytest.mark.parametrize("pool", ["mean", "std", "cls"])
def test_it_is_stored_with_the_model(pool, layer, tmp_path):
    model = whitened(small(), pool=pool, layer=layer)
    again = rk.load(rk.save(model, tmp_path / "a.safetensors", dtype=torch.float16), device="cpu")
    assert again.info == model.info and again.info.whitening.layers == (None if layer is None else (1, 2))
    expected = model.info.whitening.apply(rk.embed(RNAS, model=model, pool=pool, layer=layer))
    np.testing.assert_allclose(rk.embed(RNAS, model=model, pool=pool, whiten=True), expected, atol=1e-4)
    assert rk.embed([], model=model, pool=pool, whiten=True).shape == (0, 4)
    assert model.info.identity() != small().info.identity()
    assert model.info.for_new_task().whitening is None


def test_where_it_does_not_belong(model):
    with pytest.raises(ValueError, match="no whitening is stored with RiNALMo"):
        rk.embed("ACGU", model=model, pool="std", whiten=True)
    own = whitened(small(), layer=1)
    with pytest.raises(ValueError, match="for pool='std', not 'mean'"):
        rk.embed("ACGU", model=own, pool="mean", whiten=True)
    with pytest.raises(ValueError, match="not None"):
        rk.embed("ACGU", model=own, whiten=True)
    with pytest.raises(ValueError, match=r"for layer=\[1\]: leave layer out"):
        rk.embed("ACGU", model=own, pool="std", layer=2, whiten=True)
    with pytest.raises(ValueError, match="8 vectors for a whitening 8 wide"):
        fit_whitening(RNAS, model=model, width=8)
    with pytest.raises(ValueError, match="pool=None"):
        fit_whitening(RNAS, model=model, pool=None)


def nan(tensors):
    tensors["whitening.std.mean"][0] = float("nan")


DAMAGES = {
    "whitening.std.mean holds numbers that are not finite": nan,
    "expected whitening.POOL.mean": lambda t: t.pop("whitening.std.mean"),
    "expected whitening.POOL.mean and": lambda t: t.update({"whitening.x": torch.ones(1)}),
    "found whitening.sum": lambda t: (
        [t.pop(f"whitening.std.{k}") for k in ("mean", "matrix", "layers")]
        and t.update({"whitening.sum.matrix": torch.ones(2, 2)})
    ),
    "has 3 numbers, the model is 16": lambda t: t.update(
        {"whitening.std.mean": torch.ones(3), "whitening.std.matrix": torch.ones(3, 2)}
    ),
    r"a mean \(dim,\) and a matrix": lambda t: t.update({"whitening.std.matrix": torch.ones(15, 2)}),
    "is 17 wide, expected 1 to 16": lambda t: t.update({"whitening.std.matrix": torch.ones(16, 17)}),
    "block 3, the model has 2": lambda t: t.update({"whitening.std.layers": torch.tensor([1, 3])}),
    "ascending numbers of blocks": lambda t: t.update({"whitening.std.layers": torch.tensor([2, 1])}),
    "expected whole numbers, found": lambda t: t.update({"whitening.std.layers": torch.tensor([1.0])}),
}


@pytest.mark.parametrize("told", DAMAGES)
def test_a_damaged_one_is_rejected(told, tmp_path):
    tensors, metadata = content(whitened(small(), layer=[1, 2]), tmp_path)
    DAMAGES[told](tensors)
    save_file(tensors, tmp_path / "changed.safetensors", metadata=metadata)
    rejected(tmp_path / "changed.safetensors", told)


# many sequences


def test_jobs_of_other_layers_do_not_mix(tmp_path, capsys):
    fasta, out = tmp_path / "in.fasta", tmp_path / "out"
    fasta.write_text("".join(f">r{k}\n{s}\n" for k, s in enumerate(RNAS)))
    path = rk.save(whitened(small()), tmp_path / "own.safetensors")
    command = ["embed", str(fasta), "-o", str(out), "-q", "-m", str(path), "--shard-size", "5"]
    assert cli.main([*command, "--layer", "1,-1"]) == 0
    found = np.stack(pd.read_parquet(out)["embedding"])
    np.testing.assert_allclose(found, rk.embed(fasta, model=path, pool="mean", layer=[1, 2]), atol=1e-5)
    assert cli.main([*command, "--layer", "1,2"]) == 0  # the same blocks
    capsys.readouterr()
    for other in ([], ["--layer", "-1"]):
        assert cli.main([*command, *other]) == 2
        assert "layer: [1, 2] there" in capsys.readouterr().err
    assert cli.main([*command, "--layer", "7"]) == 2
    assert "layer=7: own.safetensors has 2 blocks" in capsys.readouterr().err


def test_a_job_with_whitening(tmp_path, capsys):
    fasta, out = tmp_path / "in.fasta", tmp_path / "out"
    fasta.write_text("".join(f">r{k}\n{s}\n" for k, s in enumerate([*RNAS, "!"])))
    path = rk.save(whitened(small()), tmp_path / "own.safetensors")
    bulk.run_bulk("embed", fasta, out, model=path, pool="std", whiten=True, shard_size=8)
    found = pd.read_parquet(out)["embedding"]  # the last shard has no vector, but its type
    expected = rk.embed(RNAS, model=path, pool="std", whiten=True)
    np.testing.assert_allclose(np.stack(found[:-1]), expected, atol=1e-5)
    assert found.isna().tolist() == [False] * len(RNAS) + [True]
    with pytest.raises(ValueError, match="whiten: True there"):
        bulk.run_bulk("embed", fasta, out, model=path, pool="std", shard_size=8)
    for more in (["--whiten"], ["--whiten", "--pool", "std", "--layer", "1"]):
        options = ["-o", str(tmp_path / "new"), "-q", "-m", str(path), *more]
        assert cli.main(["embed", str(fasta), *options]) == 2
    assert "for pool='std', not 'mean'" in capsys.readouterr().err
