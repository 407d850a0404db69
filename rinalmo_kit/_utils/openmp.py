"""How threads wait for work: set when it is imported, which must be before torch.

OpenMP's threads spin while they wait, for milliseconds by default. On a machine that does anything else they take the
cores that the others compute on: embedding is several times slower then. Threads that sleep at once take tens of
microseconds to wake, which is longer than most operations of a small model take. Ours spin for some microseconds, and
sleep then (``python -m benchmarks busy``). A policy that the user set stays. The threads of NumPy's OpenBLAS spin for
30 ms after every product, and lose nothing by not doing so.
"""

import os

SPINS = 2000  # of GNU's OpenMP, that of torch on Linux

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "passive"
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # 2⁴ cycles, the least there is
