"""Fixtures that several modules share."""

from job_examples import fasta, meanwhile, records, tiny  # noqa: F401
