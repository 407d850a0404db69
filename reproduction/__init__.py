"""How the weights in the package were made; not part of the wheel."""
