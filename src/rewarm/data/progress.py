"""What long work on data says about how far it is.

Everything is counted in bytes, so that one progress bar fits every phase.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One report of how far a long piece of work has come."""

    phase: Literal["encode", "write", "verify", "compare", "adopt"]
    """Text to tokens; tokens to the store in their final order; the store against its hashes; training
    text against validation text; token files of others counted and hashed."""
    done_bytes: int
    """Bytes of source files read (of text where the source has no size), or of tokens in other phases."""
    total_bytes: int | None
    """Value of `done_bytes` at the end; None where nobody knows it beforehand."""
    documents: int
    """Documents done so far in this phase (0 while verifying)."""
    tokens: int
    """Tokens done so far in this phase, end-of-text ids included."""


ProgressCallback = Callable[[Progress], None]
