"""The folding studio: paste, fold, inspect, constrain, compare and export a figure, live in a notebook.

Python folds, decodes, scores and writes files; ``static/studio.js`` draws what it is told and reports what a user does.
"""

from __future__ import annotations

import io
import threading
import warnings
from pathlib import Path
from typing import Any, get_args

import traitlets
from torch.overrides import TorchFunctionMode

from .._utils.defaults import STRUCTURE
from ..evaluation.folding_programs import viennarna
from ..inference.decoding import rules_of
from ..inference.folding import fold_each, folding_model, refold, structure_of
from ..metrics import structure_scores
from ..model.rinalmo import Encoder
from ..rna.alphabet import VOCABULARY, CleanSequence
from ..rna.decoding import as_min_loop, as_threshold
from ..rna.formats import FORMATS as STRUCTURES
from ..rna.mea import Pseudoknots
from ..rna.pairs import as_pairs, pairs_from_dot_bracket, to_dot_bracket
from ..rna.sequences import is_path, read_fasta, read_sequences
from ..structure import Structure, write_structures
from .base import LiveWidget, asset, said
from .payload import candidates, strip_position_numbers, structure_payload

__all__ = ["FoldingStudio"]

IMAGES = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png"}


FORMATS = {form.name: form.media_type for form in STRUCTURES.values() if form.render is not None} | IMAGES
"""Name of a format that can be exported → its media type."""


METHODS = ("default", "alone", "paper")
"""Ways to fold: as the model's file says, the same without energies, and greedily as in the paper (spec §4.1)."""


class Cancelled(Exception):
    """The user does not want to wait."""


class _Interruptible(TorchFunctionMode):
    """Look before every operation of torch whether it is still wanted; modes are of one thread alone."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self.stop = stop

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.stop.is_set():
            raise Cancelled
        return function(*args, **(kwargs or {}))


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

    _esm = asset("common.js", "studio.js")
    _css = asset("common.css", "studio.css")

    text = traitlets.Unicode().tag(sync=True)
    letters = traitlets.Unicode("".join(sorted({*"".join(v for v in VOCABULARY if len(v) == 1), "U"}))).tag(
        sync=True
    )
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
    forced: traitlets.List[Any] = traitlets.List().tag(sync=True)
    forbidden: traitlets.List[Any] = traitlets.List().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)
    progress = traitlets.Float(0.0).tag(sync=True)
    message = traitlets.Dict().tag(sync=True)
    view = traitlets.Dict().tag(sync=True)
    cells = traitlets.Bytes().tag(sync=True)
    structure = traitlets.Any(None, allow_none=True)

    _settings = ("record", "method", "threshold", "gamma", "pseudoknots", "canonical_only", "min_loop")
    from_page = frozenset({"text", "reference", *_settings})

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
        self._others: dict[str, Structure] = {}
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
        self.observe(self._decode, names=[*self._settings, "reference", "forced", "forbidden"])
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
        try:
            records = pasted(self.text)
            if not "".join(sequence for _, sequence in records).strip():
                raise ValueError("there is no sequence yet: paste one, or FASTA")
            with warnings.catch_warnings(record=True) as caught, _Interruptible(self._stop):
                warnings.simplefilter("always")
                for one in fold_each(records, model=self.model, energy=None):
                    if self._stop.is_set():
                        raise Cancelled
                    alone.append(one)
                    folded.append(self._with_energies(one))
                    self.progress = len(folded) / len(records)
            notes = [str(one.message) for one in caught if issubclass(one.category, UserWarning)]
            others, note = by_viennarna(folded)
            self.structures, self._alone, self._others, self._mixed = folded, alone, others, None
            with self.hold_trait_notifications():
                self.names, self.record = [one.name for one in folded], 0
                self.forced, self.forbidden = [], []
            self.message = {"text": " ".join(dict.fromkeys([*notes, *note]))}
            self._decode()
        except Cancelled:
            self.message = {"text": "Cancelled."}
        except (Exception, SystemExit) as error:  # nobody would see it in a thread
            self.complain(said(error))
        finally:
            self.busy = False

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
        if change is not None and change["name"] == "record" and (self.forced or self.forbidden):
            with self.hold_trait_notifications():
                self.forced, self.forbidden = [], []
        if not 0 <= self.record < len(self.structures):
            self.structure, self.view, self.cells = None, {}, b""
            return
        folded = self._folded()
        rules = self._rules(folded)
        try:
            shown = refold(folded, model=self.model, force=self.forced, forbid=self.forbidden, **rules)
        except ValueError as error:
            self.complain(str(error))
            return
        if self.message.get("wrong"):
            self.message = {}
        self.structure = shown
        view = structure_payload(shown)
        view["compared"] = {name: self._compared(shown, other) for name, other in self._known(shown).items()}
        view["code"] = self._code(rules)
        view["gamma"] = rules.get("gamma")
        if change is None or change["name"] in ("record", "method", "canonical_only", "min_loop"):
            self.cells = candidates(shown)
        self.view = view

    def _known(self, shown: Structure) -> dict[str, Structure]:
        """Return the structures to compare with."""
        found = {}
        if self.reference.strip():
            try:
                text = "".join(self.reference.split())
                if len(text) != len(shown):
                    raise ValueError(
                        f"the reference has {len(text)} positions, {shown.name!r} has {len(shown)}"
                    )
                found["reference"] = Structure(shown.sequence, pairs_from_dot_bracket(text, name="reference"))
            except ValueError as error:
                self.complain(str(error))
        if shown.name in self._others and self._others[shown.name].sequence == shown.sequence:
            found["ViennaRNA"] = self._others[shown.name]
        return found

    @staticmethod
    def _compared(shown: Structure, other: Structure) -> dict[str, Any]:
        scores = structure_scores(other, shown)
        numbers = {key: round(getattr(scores, key), 3) for key in ("precision", "recall", "f1")}
        return {"pairs": other.pairs.tolist(), **numbers}

    # Constraints, positions from 0

    def force(self, i: int, j: int) -> None:
        """Force a pair of two positions, counted from 0, whatever its probability."""
        pair = self._pair(i, j, "force")
        kept = [other for other in self.forced if not {*other} & {*pair}]
        with self.hold_trait_notifications():
            self.forbidden = [other for other in self.forbidden if other != pair]
            self.forced = [*kept, pair]

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
        source = self.model.source
        plain = {"decoding": "greedy", "canonical_only": True, "min_loop": 4}  # a threshold says greedy
        rules = {key: value for key, value in rules.items() if plain.get(key) != value}
        own: dict[str, Any] = {"decoding": self._own.method, "pseudoknots": self._own.pseudoknots}
        own |= {"gamma": rules.get("gamma")} if self.gamma is None else {}
        given: dict[str, Any] = {"energy": None} if self.method == "alone" and not self._greedy() else {}
        given |= {key: value for key, value in rules.items() if key not in own or own[key] != value}
        sequence, model = self.structures[self.record].sequence, "model" if source is None else repr(source)
        call = f"rk.fold({sequence!r}, model={model}{_arguments(given)})"
        constraints = {"force": self.forced, "forbid": self.forbidden}
        if wanted := {key: [tuple(p) for p in pairs] for key, pairs in constraints.items() if pairs}:
            call = f"rk.refold({call}{_arguments(rules | wanted)})"
        note = (
            ""
            if source
            else "# model: the object that the studio was given; it is in no file (rk.save makes one)\n"
        )
        return f"import rinalmo_kit as rk\n{note}{call}"

    def export(self, kind: str) -> bytes:
        """Return the shown structure as the bytes of a file.

        Parameters
        ----------
        kind : str
            A key of :data:`FORMATS`: a text format of structures such as ``"dbn"``, or ``"svg"``, ``"pdf"``, ``"png"``.

        Returns
        -------
        bytes

        Raises
        ------
        ValueError
            For another kind, or before anything is folded.
        """
        if not isinstance(kind, str) or kind not in FORMATS:
            raise ValueError(f"{kind!r}: there are {', '.join(FORMATS)}")
        if self.structure is None:
            raise ValueError("nothing is folded yet")
        if kind not in IMAGES:
            import tempfile

            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, f"structure.{kind}")
                write_structures([self.structure], path)
                return path.read_bytes()
        from matplotlib.figure import Figure

        from ..plot.secondary_structure import structure as draw
        from ..plot.style import paper_style

        with paper_style():
            figure = Figure(figsize=(3.4, 3.4), layout="constrained")
            draw(self.structure, ax=figure.add_subplot())
            found = io.BytesIO()
            figure.savefig(found, format=kind, dpi=300, bbox_inches="tight")
        return found.getvalue()

    def do(self, content: dict[str, Any]) -> None:
        """Run what the page asks for."""
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
            data = self.export(kind)
            stem = (
                "".join(c if c.isalnum() or c in "-_." else "_" for c in self.structure.name)[:60]
                or "structure"
            )
            self.send({"file": f"{stem}.{kind}", "type": FORMATS[kind]}, [data])

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


def _arguments(given: dict[str, Any]) -> str:
    """Return keyword arguments as they stand in code after others."""
    return "".join(f", {key}={value!r}" for key, value in given.items())


def pasted(text: str) -> list[tuple[str, str]]:
    r"""Read what a person pasted, FASTA or one sequence, into (name, sequence) records; it is never a path.

    Examples
    --------
    >>> pasted(">tRNA 1\n  1 gcgg auuu\n 61 acca"), pasted("ACG U")
    ([('tRNA', 'gcggauuuacca')], [('sequence', 'ACGU')])
    >>> pasted("/etc/hostname")
    [('sequence', '/etc/hostname')]
    """
    text = strip_position_numbers(text.lstrip("\ufeff \t\r\n"))
    return (
        list(read_fasta(io.StringIO(text))) if text.startswith(">") else [("sequence", "".join(text.split()))]
    )


def by_viennarna(folded: list[Structure]) -> tuple[dict[str, Structure], list[str]]:
    """Fold by ViennaRNA what is not long; the second is what went wrong with it, nothing where it is not installed."""
    found = {}
    try:
        for one in folded:
            if len(one) <= 1500:
                found[one.name] = viennarna(one.sequence, name=one.name)
    except ModuleNotFoundError:
        return {}, []
    except Exception as error:
        return found, [f"No comparison with ViennaRNA: {said(error)}"]
    return found, []
