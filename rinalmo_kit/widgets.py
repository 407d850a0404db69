"""Live widgets for notebooks (extra ``notebooks``)."""

from __future__ import annotations

import html

from .inference import fold_each, folding_model, refold
from .model import RiNALMo
from .structure import Structure
from .tokens import read_sequences

try:
    import ipywidgets
except ImportError as error:  # pragma: no cover
    raise ImportError("widgets need ipywidgets: pip install 'rinalmo-kit[notebooks]'") from error

__all__ = ["FoldForm"]


class FoldForm(ipywidgets.VBox):
    """Paste a sequence, fold it, move the threshold.

    The slider decodes the probabilities again; the model runs only when Fold is pressed. Of pasted FASTA
    with several records all are folded, and a menu chooses which one is shown.

    Parameters
    ----------
    sequence : str
        Text to begin with.
    model : RiNALMo, name or path
        A model with a structure head.

    Attributes
    ----------
    structure : Structure or None
        What is shown, for the next cell.

    Examples
    --------
    >>> form = FoldForm("GGGGAAAACCCC")
    >>> form.fold()
    >>> form.structure.sequence
    'GGGGAAAACCCC'
    """

    def __init__(self, sequence: str = "", *, model: RiNALMo | str = "pico-ss") -> None:
        self.model = folding_model(model)
        self.structure: Structure | None = None
        self._folded: list[Structure] = []
        self.text = ipywidgets.Textarea(
            value=sequence,
            description="Sequence",
            placeholder="ACGU…, or FASTA",
            layout=ipywidgets.Layout(width="100%", height="6em"),
        )
        self.button = ipywidgets.Button(description="Fold", button_style="primary", icon="play")
        self.threshold = ipywidgets.FloatSlider(
            value=self.model.threshold or 0.5,
            min=0.01,
            max=0.99,
            step=0.01,
            description="Threshold",
            continuous_update=True,
            tooltip="Least probability of a pair",
        )
        self.record = ipywidgets.Dropdown(description="Record", layout=ipywidgets.Layout(display="none"))
        self.message = ipywidgets.HTML()
        self.view = ipywidgets.HTML()
        controls = ipywidgets.HBox([self.button, self.threshold, self.record])
        super().__init__([self.text, controls, self.message, self.view])
        self.button.on_click(lambda _: self.fold())
        self.threshold.observe(self._show, names="value")
        self.record.observe(self._show, names="value")

    def fold(self) -> None:
        """Run the model on the text; what is wrong with it is shown below the button."""
        self.button.disabled = True
        self._say("Folding …")
        try:
            self._folded = list(fold_each(read_sequences(self.text.value), model=self.model))
        except (ValueError, OSError) as error:
            self._folded = []
            self._say(str(error), wrong=True)
        else:
            self._say("")
        finally:
            self.button.disabled = False
        self.record.layout.display = None if len(self._folded) > 1 else "none"
        self.record.unobserve(self._show, names="value")
        self.record.options = [(structure.name, i) for i, structure in enumerate(self._folded)]
        self.record.index = 0 if self._folded else None
        self.record.observe(self._show, names="value")
        self._show()  # also where the menu looks as before, with one record of the same name

    def _say(self, text: str, *, wrong: bool = False) -> None:
        style = "color: var(--jp-error-color1, #b00020)" if wrong else ""
        self.message.value = f'<span style="{style}">{html.escape(text)}</span>'

    def _show(self, _: object = None) -> None:
        if not self._folded or self.record.value is None:
            self.structure, self.view.value = None, ""
            return
        folded = self._folded[self.record.value]
        self.structure = refold(folded, model=self.model, threshold=self.threshold.value)
        self.view.value = self.structure._repr_html_()
