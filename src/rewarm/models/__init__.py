"""Models: Hugging Face causal language models, new or from a folder, and their chunked loss."""
