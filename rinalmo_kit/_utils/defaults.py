"""Names of the models that are used where the user names none."""

__all__ = ["ENCODER", "FAMILIES", "LANGUAGE_MODEL", "MODELS", "STRUCTURE"]

STRUCTURE = "nano-ss"

ENCODER = "nano-ss"
"""For embeddings: structures teach an encoder of this size more than masked nucleotides do."""

LANGUAGE_MODEL = "nano"
"""For masked nucleotides, and to start from in fine-tuning: it has seen no labels."""

FAMILIES = "pico-ncrna-0"

MODELS = {"embed": ENCODER, "fold": STRUCTURE, "predict": FAMILIES}
"""Operation → model."""
