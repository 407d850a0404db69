"""RNA as text and arrays: sequences, pairs, formats. NumPy only."""
