"""Chat completions, completions and embeddings: relayed to the model server as they are, and remembered if asked."""
