"""Fine-tuning and pretraining."""

PUBLIC = ("finetuning", "plan", "pretraining")


def __dir__() -> list[str]:
    return [name for name in PUBLIC if name in globals()]  # those that are imported
