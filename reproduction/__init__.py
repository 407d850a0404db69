"""How the weights in the package were made; no part of the wheel."""
