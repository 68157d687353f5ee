"""What a model has learnt and forgotten: validation losses, and continuations to look at."""
