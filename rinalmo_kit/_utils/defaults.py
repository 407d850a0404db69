"""Names of the models that are used where the user names none."""

__all__ = ["ENCODER", "FAMILIES", "LANGUAGE_MODEL", "MODELS", "STRUCTURE"]

STRUCTURE = "nano-ss"
ENCODER = "nano"
LANGUAGE_MODEL = "nano"
FAMILIES = "pico-ncrna-0"

MODELS = {"embed": ENCODER, "fold": STRUCTURE, "predict": FAMILIES}
"""Operation → model."""
