"""How threads wait for work: set when it is imported, which must be before torch.

OpenMP's threads spin while they wait, for milliseconds by default. On a machine that does anything else they take the
cores that the others compute on: embedding is several times slower then. Threads that sleep cost nothing on an idle
machine (``python -m benchmarks busy``). A policy that the user set stays.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
