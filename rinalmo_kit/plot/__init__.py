"""Drawings and charts: every function takes data and ``ax=`` and returns the Axes."""

from .._utils.run_log import training_log
from .base_pairs import arcs, probability_map
from .classification import confusion, precision_recall, roc
from .coordinates import layout
from .embedding import embedding_map
from .html import structure_html
from .interpretation import attention_map, mutation_map, sequence_logo, variant_map
from .r2dt import read_r2dt, write_r2dt
from .scores import regression, reliability, score_boxes, score_densities, score_table
from .secondary_structure import structure, structures
from .style import paper_style
from .training import perplexity, training_curves

__all__ = [
    "arcs",
    "attention_map",
    "confusion",
    "embedding_map",
    "layout",
    "mutation_map",
    "paper_style",
    "perplexity",
    "precision_recall",
    "probability_map",
    "read_r2dt",
    "regression",
    "reliability",
    "roc",
    "score_boxes",
    "score_densities",
    "score_table",
    "sequence_logo",
    "structure",
    "structure_html",
    "structures",
    "training_curves",
    "training_log",
    "variant_map",
    "write_r2dt",
]


def __dir__() -> list[str]:
    return sorted(__all__)
