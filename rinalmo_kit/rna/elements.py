"""Loops of a structure: to which stem, hairpin, interior or multibranch loop each nucleotide belongs, by forgi."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ELEMENTS", "loop_elements"]

ELEMENTS = {
    "s": "stem",
    "h": "hairpin loop",
    "i": "interior loop or bulge",
    "m": "multibranch loop",
    "f": "5′ end",
    "t": "3′ end",
}
"""Letter of forgi's element string → what it stands for."""


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
        with contextlib.redirect_stderr(
            io.StringIO()
        ):  # NumPy says of forgi's extension that it is an old one
            from forgi.graph.bulge_graph import BulgeGraph
    except Exception as error:  # forgi's parts fail in ways of their own where one is too new for it
        raise ImportError(
            f"loops are found by forgi, which cannot be imported here ({error}): pip install 'rinalmo-kit[drawing]'"
        ) from error
    if not dot_bracket.strip("."):
        return np.full(len(dot_bracket), "f")
    return np.array(list(BulgeGraph.from_dotbracket(dot_bracket).to_element_string()))
