"""Which sequence comes n-th: exact mixtures, compute-equivalent replay, and the ledger behind it.

Everything is a function of the position. No torch, no state, no random draws.

>>> from fractions import Fraction
>>> from rewarm.replay import Mixture, NewData, Replay, Stream, Tape
>>> old = NewData(Mixture.of({"english": 1}), {})
>>> new = NewData(Mixture.of({"german": 1}), {})
>>> replay = Replay(Fraction(1, 20), Mixture.of({"pretrain": 1}), {"pretrain": Tape(old, length=5000)})
>>> Stream(new, replay).counts(100)
{'german': Count(new=95, replayed=0), 'english': Count(new=0, replayed=5)}
"""

from rewarm.replay.ledger import Count, add_counts, composition, reservoir_shares
from rewarm.replay.mixture import Mixture, Split
from rewarm.replay.order import EpochOrder, OrderKind
from rewarm.replay.part import SourcePart
from rewarm.replay.permutation import Permutation, derive_key
from rewarm.replay.stream import Draw, NewData, Replay, Stream, Tape

__all__ = [
    "Count",
    "Draw",
    "EpochOrder",
    "Mixture",
    "NewData",
    "OrderKind",
    "Permutation",
    "Replay",
    "SourcePart",
    "Split",
    "Stream",
    "Tape",
    "add_counts",
    "composition",
    "derive_key",
    "reservoir_shares",
]
