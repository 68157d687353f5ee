"""How much of the validation text is training text: words, hashes, and one pass over the training tokens."""
