"""Run the benchmark that the first word names; see README.md."""

import sys

from . import estimates, half_precision, many, run

PROGRAMS = {"estimates": estimates.main, "half": half_precision.main, "many": many.main}

program = PROGRAMS.get("".join(sys.argv[1:2]))
if program is None:
    run.main(sys.argv[1:])
else:
    program(sys.argv[2:])
