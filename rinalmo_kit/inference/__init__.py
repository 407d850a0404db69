"""From sequences to embeddings, structures and predictions, few or millions."""
