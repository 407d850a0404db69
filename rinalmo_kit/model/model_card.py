"""The card of a model, README.md, as the Hugging Face hub shows it."""

from __future__ import annotations

import json

from .hub_layout import WEIGHTS
from .licences import licence_of
from .rinalmo import Encoder
from .tasks import task_of

__all__ = ["model_card"]

USES = {"structure": "rk.fold({!r}, model=model)", "": "rk.embed({!r}, model=model)"}
EXAMPLE = "GGGGCUAUAGCUCAGUUGGGAGAGC"


UNKNOWN = (
    "Not known: the model does not tell what it was made from. Made from the official weights of RiNALMo, it is under "
    "CC BY 4.0; else the licence is yours to choose."
)


def model_card(model: Encoder, title: str) -> str:
    """Return the card of a model as Markdown, with the YAML that the hub reads at its beginning.

    Examples
    --------
    >>> from rinalmo_kit import load
    >>> model_card(load("nano-ss", device="cpu"), "nano-ss").splitlines()[:3]
    ['---', 'license: apache-2.0', 'library_name: rinalmo_kit']
    """
    licence, task = licence_of(model), task_of(model.head)
    kind = "" if task is None else task.name
    use = USES.get(kind, USES[""] if model.head is None else "rk.predict({!r}, model=model)").format(EXAMPLE)
    tags = ["rna", "biology", "rinalmo", *([kind] if kind else [])]
    front = [
        *([f"license: {licence.identifier}"] if licence else []),
        "library_name: rinalmo_kit",
        "tags:",
        *(f"- {tag}" for tag in tags),
    ]
    head = "with its language-model head" if model.head is None else f"fine-tuned for: {kind or 'a task'}"
    size = f"{sum(one.numel() for one in model.parameters()) / 1e6:.1f} M parameters"
    said = licence.words if licence else UNKNOWN
    known = json.dumps(model.about, indent=1, ensure_ascii=True)[:20_000]
    parts = [
        "---\n" + "\n".join(front) + "\n---",
        f"# {' '.join(title.split())[:200]}",
        f"An encoder of RNA of the RiNALMo kind, {head}; {size}. Weights in `{WEIGHTS}`, read by rinalmo_kit:",
        f'```python\nimport rinalmo_kit as rk\n\nmodel = rk.load("hf:owner/name")     # or this folder\n{use}\n```',
        f"**Licence.** {said}",
        *([f"**Training**, as the file tells it:\n\n```json\n{known}\n```"] if model.about else []),
    ]
    return "\n\n".join(parts) + "\n"
