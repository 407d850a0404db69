"""The model: tokenizer, encoder, heads, files, names."""
