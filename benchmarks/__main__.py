"""Run the benchmark that the first word names; see docs/speed.md."""

import sys
from importlib import import_module

PROGRAMS = {
    "busy": "busy",
    "drawings": "drawings",
    "estimates": "estimates",
    "folding": "folding",
    "gpu": "gpu",
    "half": "half_precision",
    "many": "many",
}

words = sys.argv[1:]
if words and words[0] in PROGRAMS:  # imported alone: each needs no more than it says
    import_module(f".{PROGRAMS[words[0]]}", __package__).main(words[1:])
else:
    import_module(".run", __package__).main(words)
