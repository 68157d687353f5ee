"""Continual pre-training of language models: re-warm, replay, measure.

`from rewarm import schedules, replay` loads no torch and works in anybody's trainer.
"""

__version__ = "0.1.0"
