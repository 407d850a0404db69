"""From sequences to embeddings, structures and predictions, few or millions."""

PUBLIC = ("bulk", "confidence", "embedding", "estimate", "folding", "prediction", "probing")


def __dir__() -> list[str]:
    return [name for name in PUBLIC if name in globals()]  # those that are imported
