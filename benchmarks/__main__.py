"""Run the benchmark that the first word names; see docs/speed.md."""

import sys

from . import estimates, many, run

PROGRAMS = {"estimates": estimates.main, "many": many.main}

program = PROGRAMS.get("".join(sys.argv[1:2]))
if program is None:
    run.main(sys.argv[1:])
else:
    program(sys.argv[2:])
