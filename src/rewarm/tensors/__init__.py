"""Tensors in parts: the blocks of one (pure), where they are read from, and what of a model is held here."""
