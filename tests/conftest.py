"""Fixtures that several modules share."""

from tests.helpers.job_examples import (
    fasta,  # noqa: F401
    meanwhile,  # noqa: F401
    records,  # noqa: F401
    tiny,  # noqa: F401
)
from tests.helpers.programs import stand_in  # noqa: F401
