"""Text in, tokens on disk, batches out: sources, the tokenizer, preparation and the token store."""
