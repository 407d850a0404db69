"""Programs that use homologs: how they are called and read, with stand-ins on PATH that print what the real ones do."""

from pathlib import Path

import pytest

from reproduction.homolog_programs import families_by_cmscan, fold_with_homologs

SEQUENCE, FOLD = "GGGGAAAACCCC", "((((....))))"


def test_homologs_are_passed_to_the_program(stand_in):
    stand_in(
        "centroid_homfold",
        f"assert Path(sys.argv[2]).read_text() == '>homolog0\\nGGGCAAAAGCCC\\n'\nprint('{FOLD} (g=4)')",
    )
    assert fold_with_homologs("centroid-homfold", SEQUENCE, ["GGGCAAAAGCCC"]).dot_bracket == FOLD
    with pytest.raises(ValueError, match="locarna needs homologs of 'mine'"):
        fold_with_homologs("locarna", SEQUENCE, [], name="mine")


def test_a_consensus_is_put_onto_the_target(stand_in):
    write = "folder = Path(sys.argv[sys.argv.index('--tgtdir') + 1], 'results')\nfolder.mkdir(parents=True)\n"
    rows = "target    GGGG-AAAACCCC\\nhomolog0  GGGCUAAAAGCCC\\n"
    write += f"(folder / 'result.aln').write_text('CLUSTAL W\\n\\n{rows}')\n"
    stand_in("mlocarna", write + "print('target    GGGG-AAAACCCC\\nalifold   ((((.....)))) (-5.0)')")
    stand_in("centroid_alifold", "print('>consensus\\nGGGG-AAAACCCC\\n((((.....)))) (g=2)')")
    for program in ("locarna", "centroid-alifold"):
        assert fold_with_homologs(program, SEQUENCE, ["GGGCUAAAAGCCC"]).dot_bracket == FOLD


def test_families_come_from_the_table_of_hits(stand_in):
    hit = "5S_rRNA RF00001 target - cm 1 119 1 12 + no 1 0.5 0.0 60.2 1.1e-10 ! 5S ribosomal RNA"
    worse = "tRNA RF00005 target - cm 1 71 1 12 + no 1 0.5 0.0 20.2 0.3 ? tRNA"
    stand_in("cmscan", f"Path(sys.argv[3]).write_text('# header\\n{worse}\\n{hit}\\n')")
    assert families_by_cmscan(SEQUENCE, Path("Rfam.cm"))[0] == ("RF00001", "5S_rRNA", 1.1e-10)
