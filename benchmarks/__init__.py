"""Benchmarks, run in a checkout by ``python -m benchmarks``; see docs/speed.md."""
