"""The folding studio: paste, fold, inspect, constrain, compare and export a figure, live in a notebook.

Python folds, decodes, scores and writes files; ``static/studio.js`` draws what it is told and reports what a user does.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import traitlets

from .._utils.defaults import STRUCTURE
from ..inference.decoding import rules_of
from ..inference.folding import fold_each, folding_model, refold, structure_of
from ..model.rinalmo import Encoder
from ..rna.alphabet import VOCABULARY, CleanSequence
from ..rna.decoding import as_min_loop, as_threshold
from ..rna.mea import Pseudoknots
from ..rna.pairs import as_pairs, to_dot_bracket
from ..rna.sequences import is_path, read_sequences
from ..structure import Structure
from .base import LiveWidget, asset, said
from .cancelling import Cancelled, cancellable
from .payload import candidates, structure_payload
from .studio_code import code_of
from .studio_compare import References, by_viennarna
from .studio_figure import FORMATS, file_bytes
from .studio_input import EXAMPLES, checked_pair, not_empty, pasted, time_of
from .studio_view import COLOR_BY, PALETTE, PANELS, drawing_payload, first_panel, view_payload

__all__ = ["FORMATS", "FoldingStudio", "pasted"]

LETTERS = "".join(sorted({*"".join(one for one in VOCABULARY if len(one) == 1), "U"}))
SCRIPTS = ("common.js", "studio_text.js", "studio_drawing.js", "studio_maps.js", "studio.js")
"""Files of the page, in the order in which they are joined."""


METHODS = ("default", "alone", "paper")
"""Ways to fold: as the model's file says, without energies, and greedily as in the paper (spec §4.1)."""


class FoldingStudio(LiveWidget):
    """Fold RNAs in a notebook: linked drawing, arcs and probabilities; thresholds, constraints, figures to export.

    Paste a sequence, or FASTA with one record or many, and press Fold. Method, sliders and constraints decode the
    probabilities again without running the model.

    Parameters
    ----------
    sequence : str, Structure, or what :func:`rinalmo_kit.fold` takes, optional
        Folded at once.
    model : Encoder, name or path
        A model with a structure head.
    reference : Structure or str, optional
        Known structure, or dot-bracket, to compare with.

    Attributes
    ----------
    method : {"default", "alone", "paper"}
        As the model's file says; the same without an energy model; or the model's probabilities decoded greedily, as in
        the paper. Without rules in the model's file, all three are the paper's.
    threshold : float
        For the paper's decoding; a new value chooses it, as in :func:`rinalmo_kit.fold`.
    gamma : float or None
        Weight of pairs in maximum expected accuracy; None: the model's.
    pseudoknots : {"strong", "all", "none"}
        Helices that may cross, in maximum expected accuracy.
    color_by : {"nucleotide", "probability", "elements", "none"}
        What the colours of the bases mean.
    compare : {"none", "reference", "ViennaRNA"}
        What the structure is compared with in the pictures, where there is such a structure.
    panel : {"drawing", "arcs", "map"}
        The largest picture, which is also the one that is exported.
    reference : str
        Known structure of the RNA that is shown, as dot-bracket; another RNA has another one, or none.
    structure : Structure or None
        What is shown; ``studio.observe(function, "structure")`` calls whenever it changes.
    structures : list of Structure
        All records as :func:`rinalmo_kit.fold` folds them.

    Examples
    --------
    >>> studio = FoldingStudio("GGGGAAAACCCC")
    >>> studio.structure.dot_bracket
    '((((....))))'
    >>> studio.force(1, 10)
    >>> studio.structure.dot_bracket
    '(((......)))'
    """

    _esm = asset(*SCRIPTS)
    _css = asset("common.css", "studio.css")

    text = traitlets.Unicode().tag(sync=True)
    letters = traitlets.Unicode(LETTERS).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    record = traitlets.Int(0).tag(sync=True)
    threshold = traitlets.Float(0.5).tag(sync=True)
    formats = traitlets.List(traitlets.Unicode(), list(FORMATS)).tag(sync=True)
    tuned = traitlets.Float(0.5).tag(sync=True)
    method = traitlets.Enum(METHODS, "default").tag(sync=True)
    methods = traitlets.List(traitlets.Unicode()).tag(sync=True)
    gamma = traitlets.Float(None, allow_none=True).tag(sync=True)
    pseudoknots = traitlets.Enum(get_args(Pseudoknots), "strong").tag(sync=True)
    canonical_only = traitlets.Bool(True).tag(sync=True)
    min_loop = traitlets.Int(4).tag(sync=True)
    reference = traitlets.Unicode().tag(sync=True)
    color_by = traitlets.Enum(COLOR_BY, "nucleotide").tag(sync=True)
    compare = traitlets.Enum(("none", "reference", "ViennaRNA"), "none").tag(sync=True)
    panel = traitlets.Enum(PANELS, "drawing").tag(sync=True)
    examples = traitlets.Dict(EXAMPLES).tag(sync=True)
    palette = traitlets.Dict(PALETTE).tag(sync=True)
    expected = traitlets.Dict().tag(sync=True)
    forced: traitlets.List[Any] = traitlets.List().tag(sync=True)
    forbidden: traitlets.List[Any] = traitlets.List().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)
    progress = traitlets.Float(0.0).tag(sync=True)
    message = traitlets.Dict().tag(sync=True)
    view = traitlets.Dict().tag(sync=True)
    cells = traitlets.Bytes().tag(sync=True)
    structure = traitlets.Any(None, allow_none=True)

    _settings = ("record", "method", "threshold", "gamma", "pseudoknots", "canonical_only", "min_loop")
    _pictures = ("color_by", "compare", "panel")
    from_page = frozenset({"text", "reference", *_settings, *_pictures})

    @traitlets.validate("threshold", "gamma", "min_loop", "record")
    def _valid(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        try:
            if name == "threshold":
                return as_threshold(value)
            if name == "gamma":
                self._own.changed(gamma=value)
                return value
            if name == "min_loop":
                return as_min_loop(value)
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from error
        if not 0 <= value < max(1, len(self.structures)):
            raise traitlets.TraitError(f"record={value}: there are {len(self.structures)}, counted from 0")
        return value

    def __init__(
        self,
        sequence: Any = None,
        model: Encoder | str = STRUCTURE,
        reference: Structure | str | None = None,
    ) -> None:
        self.model = folding_model(model)
        rules = rules_of(self.model)
        self._own = rules.decoding
        self.structures: list[Structure] = []
        self._alone: list[Structure] = []
        self._mixed: tuple[Any, Structure] | None = None
        self._others: dict[int, Structure] = {}
        self._references, self._settling = References(), False
        self._rules_shown: dict[str, Any] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if isinstance(sequence, Structure):
            sequence = {sequence.name or "sequence": sequence.sequence}
        text, records = "", None
        if sequence is not None:
            records = read_sequences(sequence)
            text = "".join(f">{' '.join(name.split())}\n{letters}\n" for name, letters in records)
            text = sequence if isinstance(sequence, str) and not is_path(sequence) else text
        if isinstance(reference, Structure):
            reference = reference.dot_bracket
        tuned = 0.5 if self.model.threshold is None else self.model.threshold
        super().__init__(text=text, threshold=tuned, tuned=tuned, reference=reference or "")
        if self._own.method == "mea":
            self.methods = [one for one in METHODS if one != "alone" or rules.energy is not None]
            self.pseudoknots = self._own.pseudoknots
        else:
            self.methods = ["paper"]
        self.observe(self._decode, names=[*self._settings, "forced", "forbidden"])
        self.observe(self._refer, names="reference")
        self.observe(self._draw, names=[*self._pictures])
        self.observe(self._expect, names="text")
        if records is not None:
            self.fold()

    # Folding

    def fold(self) -> None:
        """Fold the text and wait for it; what is wrong with it is said below the text."""
        self._stop.clear()
        self._fold_in_background()

    def start(self) -> None:
        """Fold the text in the background; :meth:`cancel` ends it."""
        if self.busy:
            return
        self.busy = True  # now, not when the thread gets there
        self._stop.clear()
        self._thread = threading.Thread(target=self._fold_in_background, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self.busy = False
            raise

    def cancel(self) -> None:
        """Cancel a running fold; what was shown before stays."""
        self._stop.set()

    def _fold_in_background(self) -> None:
        self.busy, self.progress, self.message = True, 0.0, {}
        folded: list[Structure] = []
        alone: list[Structure] = []
        others: dict[int, Structure] = {}
        try:
            records, skipped = not_empty(pasted(self.text))
            self._expect()
            self._tell(records, 0)
            with warnings.catch_warnings(record=True) as caught, cancellable(self._stop):
                warnings.simplefilter("always")
                for one in fold_each(records, model=self.model, energy=None):
                    if self._stop.is_set():
                        raise Cancelled
                    alone.append(one)
                    folded.append(self._with_energies(one))
                    self.progress = len(folded) / len(records)
                    self._tell(records, len(folded))
            notes = [str(one.message) for one in caught if issubclass(one.category, UserWarning)]
            others, note = by_viennarna(folded, self._stop)
            self.structures, self._alone, self._others, self._mixed = folded, alone, others, None
            with self.hold_trait_notifications():
                self.names, self.record = [one.name for one in folded], 0
                self.forced, self.forbidden = [], []
            self.message = {"text": " ".join(dict.fromkeys([*filter(None, [skipped]), *notes, *note]))}
            self._decode()
        except Cancelled:
            self.message = {"text": "Cancelled."}
        except (Exception, SystemExit) as error:  # nobody would see it in a thread
            self.complain(said(error))
        finally:
            self.busy = False

    def _expect(self, _: Any = None) -> None:
        """Estimate how long the text will take to fold."""
        self.expected = time_of(self.text, self.model)

    def _tell(self, records: list[tuple[str, str]], done: int) -> None:
        """Say what is folded now, and how long that takes if it is long."""
        if done >= len(records):
            return
        name, letters = records[done]
        text = (
            f"Folding {name} ({len(letters):,} nt)"
            if len(records) == 1
            else f"Folded {done} of {len(records)}"
        )
        if words := self.expected.get("words", ""):
            text += f"; {'this' if len(records) == 1 else 'all'} takes about {words}"
        self.message = {"text": text}

    def _with_energies(self, alone: Structure, **rules: Any) -> Structure:
        """Return the fold by the model's rules, of the probabilities in its fold without energies."""
        chosen = rules_of(self.model, **rules)
        if chosen.energy is None or alone.probabilities is None:
            return alone
        record = alone.name, CleanSequence(alone.sequence)
        return structure_of(self.model, record, alone.probabilities, chosen)

    def _folded(self) -> Structure:
        """Return the record with the probabilities that are to be decoded.

        A mixture holds only pairs that the rules allow: with other rules the model's own are mixed again.
        """
        if self.method != "default":
            return self._alone[self.record]
        folded = self.structures[self.record]
        rules = {"canonical_only": self.canonical_only, "min_loop": self.min_loop}
        if folded.energy is None or rules == {"canonical_only": True, "min_loop": 4}:
            return folded
        if self._mixed is None or self._mixed[0] != (self.record, rules):
            self._mixed = (self.record, rules), self._with_energies(self._alone[self.record], **rules)
        return self._mixed[1]

    def _greedy(self) -> bool:
        """Return whether the decoding in force is the paper's."""
        return self.method == "paper" or self._own.method == "greedy"

    def _rules(self, folded: Structure) -> dict[str, Any]:
        """Return the rules of decoding in force, as :func:`rinalmo_kit.inference.folding.refold` takes them."""
        if self._greedy():
            rules: dict[str, Any] = {"decoding": "greedy", "threshold": self.threshold}
        else:
            own = self._own.gamma_alone if folded.energy is None else self._own.gamma
            gamma = own if self.gamma is None else self.gamma
            rules = {"decoding": "mea", "gamma": gamma, "pseudoknots": self.pseudoknots}
        return rules | {"canonical_only": self.canonical_only, "min_loop": self.min_loop}

    def _decode(self, change: Any = None) -> None:
        """Decode again and send what is to be seen."""
        if change is not None and change["name"] == "threshold" and not self._greedy():
            self.method = "paper"  # which decodes
            return
        if change is not None and change["name"] == "record":
            with self.hold_trait_notifications():
                self.forced, self.forbidden = [], []
        if not 0 <= self.record < len(self.structures):
            self.structure, self.view, self.cells = None, {}, b""
            return
        folded = self._folded()
        rules = self._rules(folded)
        try:
            self._check_forced(folded.sequence)
            shown = refold(folded, model=self.model, force=self.forced, forbid=self.forbidden, **rules)
        except ValueError as error:
            self.complain(str(error))
            return
        if self.message.get("wrong"):
            self.message = {}
        before, self.structure, self._rules_shown = self.structure, shown, rules
        with self._one_drawing():
            if change is None or change["name"] == "record":  # another RNA
                self._show_reference(shown, first=before is None)
            if before is None or len(before) != len(shown):
                self.panel = first_panel(shown)
            if change is None or change["name"] in ("record", "method", "canonical_only", "min_loop"):
                self.cells = candidates(shown)

    @contextmanager
    def _one_drawing(self) -> Iterator[None]:
        """Send what is to be seen when all is settled, and not at every change before."""
        self._settling = True
        try:
            yield
        finally:
            self._settling = False
        self._draw()

    def _draw(self, _: Any = None) -> None:
        """Send what is to be seen."""
        shown = self.structure
        if shown is None or self._settling:
            return
        known = self._known()
        view = structure_payload(shown, places=False)
        view |= view_payload(shown, known, compare=self.compare, color_by=self.color_by)
        if self.panel == "drawing" or first_panel(shown) == "drawing":
            view |= drawing_payload(shown, known.get(self.compare))
        view["code"] = self._code(self._rules_shown)
        view["gamma"] = self._rules_shown.get("gamma")
        self.view = view

    # Structures to compare with

    def _known(self) -> dict[str, Structure]:
        """Return the structures to compare with what is shown."""
        found = {"reference": self._references.of(self.structure), "ViennaRNA": self._others.get(self.record)}
        return {name: one for name, one in found.items() if one is not None}

    def _refer(self, _: Any = None) -> None:
        """Take the reference for that of the RNA that is shown, or say why it cannot be."""
        if self.structure is None or self._references.restoring:
            return
        if self.message.get("wrong"):
            self.message = {}
        try:
            if self._references.give(self.reference, self.structure):
                self.compare = "reference"
        except ValueError as error:
            self.complain(str(error))
        self._draw()

    def _show_reference(self, s: Structure, *, first: bool) -> None:
        """Show the reference of an RNA just folded or chosen; what is wrong is said of one for the first RNA alone."""
        if not self._references.settled and self._references.of(s) is None:  # given before its RNA was folded
            try:
                if self._references.give(self.reference, s):
                    self.compare = "reference"
            except ValueError as error:
                if first:
                    self.complain(str(error))
                    return
        with self._references.restore(s) as text:
            self.reference = text

    # Constraints, positions from 0

    def force(self, i: int, j: int) -> None:
        """Force a pair of two positions, counted from 0, whatever its probability.

        Raises
        ------
        ValueError
            If the rules that are shown do not allow it, or one of the two is in another forced pair.
        """
        pair = self._pair(i, j, "force")
        self._check_forced(self.structures[self.record].sequence, pair)
        with self.hold_trait_notifications():
            self.forbidden = [other for other in self.forbidden if other != pair]
            self.forced = [*(other for other in self.forced if other != pair), pair]

    def forbid(self, i: int, j: int) -> None:
        """Forbid a pair of two positions, counted from 0."""
        pair = self._pair(i, j, "forbid")
        with self.hold_trait_notifications():
            self.forced = [other for other in self.forced if other != pair]
            self.forbidden = [*(other for other in self.forbidden if other != pair), pair]

    def _pair(self, i: int, j: int, name: str) -> list[int]:
        """Return a pair of the record that is shown, or say why it is none."""
        if not self.structures:
            raise ValueError("nothing is folded yet")
        return as_pairs([(i, j)], length=len(self.structures[self.record]), name=name)[0].tolist()

    def _check_forced(self, sequence: str, pair: list[int] | None = None) -> None:
        """Raise ValueError if a pair, or one that is forced already, cannot be by the rules in force."""
        rules: dict[str, Any] = {"canonical_only": self.canonical_only, "min_loop": self.min_loop}
        rules["nested"] = self.pseudoknots == "none" and not self._greedy()
        for i, j in self.forced if pair is None else [pair]:
            checked_pair(i, j, sequence, self.forced, **rules)

    def clear(self) -> None:
        """Clear all constraints."""
        with self.hold_trait_notifications():
            self.forced, self.forbidden = [], []

    # Export

    def code(self) -> str:
        """Return Python code that computes the shown structure without the studio."""
        return self.view.get("code", "")

    def _code(self, rules: dict[str, Any]) -> str:
        """Return the code, given the rules of decoding in force."""
        own: dict[str, Any] = {"decoding": self._own.method, "pseudoknots": self._own.pseudoknots}
        own |= {"gamma": rules.get("gamma")} if self.gamma is None else {}
        given: dict[str, Any] = {"energy": None} if self.method == "alone" and not self._greedy() else {}
        constraints = {"force": self.forced, "forbid": self.forbidden}
        sequence = self.structures[self.record].sequence
        return code_of(sequence, self.model.source, rules, own=own, given=given, constraints=constraints)

    def export(self, kind: str, window: Any = None) -> bytes:
        """Return the shown structure as the bytes of a file; a picture has its colours, comparison and panel.

        Parameters
        ----------
        kind : str
            A key of :data:`FORMATS`: a text format of structures such as ``"dbn"``, or ``"svg"``, ``"pdf"``, ``"png"``.
        window : (left, top, width, height), optional
            Part of the drawing, in units of its places in :attr:`view`.

        Returns
        -------
        bytes

        Raises
        ------
        ValueError
            For another kind, a window that is not four numbers, or before anything is folded.
        """
        if self.structure is None and kind in FORMATS:
            raise ValueError("nothing is folded yet")
        looks = {"panel": self.panel, "color_by": self.view.get("color_by", "none"), "window": window}
        compare = self.view.get("compare", "none")
        return file_bytes(self.structure, kind, other=self._known().get(compare), compare=compare, **looks)

    def do(self, content: dict[str, Any]) -> None:
        """Run what the page asks for; the settings that it was asked with may arrive later, so they come with it."""
        if isinstance(state := content.get("state"), dict):
            self.set_state(state)
        action = content.get("do")
        if action == "fold":
            self.start()
        elif action == "cancel":
            self.cancel()
        elif action in ("force", "forbid"):
            getattr(self, action)(*content["pair"])
        elif action == "clear":
            self.clear()
        elif action == "export":
            kind = content.get("kind", "")
            data = self.export(kind, content.get("window"))
            stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in self.structure.name)[:60]
            self.send({"file": f"{stem or 'structure'}.{kind}", "type": FORMATS[kind]}, [data])

    # Without a live kernel

    def static_mimebundle(self) -> dict[str, str]:
        """Return the picture and the dot-bracket."""
        s = self.structure
        if s is None:
            return {
                "text/html": "<pre>FoldingStudio: nothing is folded yet</pre>",
                "text/plain": "FoldingStudio",
            }
        written = to_dot_bracket(s.pairs, len(s), drop=True)
        return {"text/html": s._repr_html_(), "text/plain": f"FoldingStudio\n{s.sequence}\n{written}"}
