"""Run the benchmark that the first word names; see README.md."""

import sys

from . import drawings, estimates, many, run

PROGRAMS = {"drawings": drawings.main, "estimates": estimates.main, "many": many.main}

program = PROGRAMS.get("".join(sys.argv[1:2]))
if program is None:
    run.main(sys.argv[1:])
else:
    program(sys.argv[2:])
