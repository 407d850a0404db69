"""RNA as text and arrays: sequences, pairs, formats. NumPy only."""

PUBLIC = ("alphabet", "decoding", "elements", "families", "formats", "mea", "pairs", "rules", "sequences")


def __dir__() -> list[str]:
    return [name for name in PUBLIC if name in globals()]  # those that are imported
