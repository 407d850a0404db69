"""Scores of models and baselines, comparisons, leakage, and what a model sees."""

from .._utils.provenance import provenance
from .baselines import BASELINES, installed, kmer_counts, most_pairs, ngram_perplexity, simple, trivial
from .comparison import average_scores, compare, join_published
from .embedding_maps import Map, embedding_scores, neighbour_labels, standardised, to_anndata, tsne_map
from .folding_programs import PROGRAMS, Program, fold_by, on_path, viennarna
from .gpu_table import gpu_table
from .interpretation import (
    attention_of_pairs,
    average_product_corrected,
    masked_probabilities,
    mutation_effects,
)
from .leakage import (
    TRAINING_SETS,
    LeakWarning,
    TrainedOn,
    exact_duplicates,
    find,
    trained_on,
    unseen,
    warn,
    warn_if_trained_on,
)
from .matching import Matched, UnscoredWarning, match_structures, matched_scores
from .predictors import Baseline, FoldingFunction, ModelPredictor
from .scoring import Evaluation, evaluate
from .structure_table import structure_table
from .tables import printed_scores
from .variants import variant_scores

__all__ = [
    "BASELINES",
    "PROGRAMS",
    "TRAINING_SETS",
    "Baseline",
    "Evaluation",
    "FoldingFunction",
    "LeakWarning",
    "Map",
    "Matched",
    "ModelPredictor",
    "Program",
    "TrainedOn",
    "UnscoredWarning",
    "attention_of_pairs",
    "average_product_corrected",
    "average_scores",
    "compare",
    "embedding_scores",
    "evaluate",
    "exact_duplicates",
    "find",
    "fold_by",
    "gpu_table",
    "installed",
    "join_published",
    "kmer_counts",
    "masked_probabilities",
    "match_structures",
    "matched_scores",
    "most_pairs",
    "mutation_effects",
    "neighbour_labels",
    "ngram_perplexity",
    "on_path",
    "printed_scores",
    "provenance",
    "simple",
    "standardised",
    "structure_table",
    "to_anndata",
    "trained_on",
    "trivial",
    "tsne_map",
    "unseen",
    "variant_scores",
    "viennarna",
    "warn",
    "warn_if_trained_on",
]

beside_published = join_published  # the older name


def __dir__() -> list[str]:
    return sorted(__all__)
