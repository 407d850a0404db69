"""Structural elements of an RNA by forgi: the stem, hairpin, internal or multibranch loop of each nucleotide."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ELEMENTS", "KINDS", "loop_elements"]

ELEMENTS = {
    "s": "stem",
    "h": "hairpin loop",
    "i": "interior loop or bulge",
    "m": "multibranch loop",
    "f": "5′ end",
    "t": "3′ end",
}
"""Letter of forgi's element string → what it stands for."""


KINDS = {"s": "stem", "h": "hairpin", "i": "internal", "m": "multiloop", "f": "external", "t": "external"}
"""Letter of forgi's element string → kind of element, as drawings show it."""


def loop_elements(dot_bracket: str) -> NDArray[np.str_]:
    """Return the element of each nucleotide as one of the letters of :data:`ELEMENTS`.

    Parameters
    ----------
    dot_bracket : str
        Of any bracket levels; nucleotides between the stems of a pseudoknot count as a multibranch loop.

    Returns
    -------
    ndarray of str, shape (L,)

    Raises
    ------
    ImportError
        Says how to install forgi.
    ValueError
        For brackets without a partner.

    Examples
    --------
    >>> "".join(loop_elements("..((((....))))."))
    'ffsssshhhhsssst'
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # NumPy warns that forgi's extension is old
            from forgi.graph.bulge_graph import BulgeGraph
    except (
        Exception
    ) as error:  # a dependency that is too new for forgi fails with other errors than ImportError
        raise ImportError(
            f"structural elements need forgi, which cannot be imported ({error}): pip install 'rinalmo-kit[drawing]'"
        ) from error
    if not dot_bracket.strip("."):
        return np.full(len(dot_bracket), "f")
    return np.array(list(BulgeGraph.from_dotbracket(dot_bracket).to_element_string()))
