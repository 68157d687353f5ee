"""The ledger: how many sequences of each source the model has seen, and what follows for replay.

The replay mixture of a stage is the composition of everything seen so far, replay included. That is the
paper's "discrete reservoir", and the ledger is all it needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Count:
    """Sequences read from one source."""

    new: int = 0
    """Read as new data."""
    replayed: int = 0
    """Re-read from what had been seen."""

    @property
    def total(self) -> int:
        """New and replayed together."""
        return self.new + self.replayed

    def __add__(self, other: "Count") -> "Count":
        return Count(self.new + other.new, self.replayed + other.replayed)


def add_counts(a: Mapping[str, Count], b: Mapping[str, Count]) -> dict[str, Count]:
    """Add two ledgers, source by source.

    >>> add_counts({"english": Count(3)}, {"english": Count(0, 1), "german": Count(9)})
    {'english': Count(new=3, replayed=1), 'german': Count(new=9, replayed=0)}
    """
    # Not b.keys() - a.keys(): a set of strings has another order in every process.
    names = [*a, *(name for name in b if name not in a)]
    return {name: a.get(name, Count()) + b.get(name, Count()) for name in names}


def composition(ledger: Mapping[str, Count]) -> dict[str, Fraction]:
    """Return the share of each source in all that was seen, replay included.

    >>> composition({"english": Count(3, 1), "german": Count(4)})
    {'english': Fraction(1, 2), 'german': Fraction(1, 2)}

    Source: what Eq. 5 (paper, A.1) comes to; see `reservoir_shares`.
    """
    total = sum(count.total for count in ledger.values())
    return {name: Fraction(count.total, total) for name, count in ledger.items() if count.total}


def reservoir_shares(sizes: Sequence[int], replay: Fraction) -> list[Fraction]:
    """Return the composition of the replay buffer after stages of these sizes, by the paper's recursion.

        p_{i,j} = [ s_j·(1-α)^{γ_j} + Σ_{k=j+1}^{i-1} p_{k,j}·s_k·α ] / Σ_{k=0}^{i-1} s_k,

    γ_0 = 0, else 1: the first stage has nothing to replay, every later one gives a share α of its tokens to
    replay. The engine does not use this closed form but the ledger (`composition`), which equals it and also
    holds when shares differ from stage to stage.

    Args:
        sizes: s_0 … s_{i-1}, tokens (or sequences) of the stages so far, replay included.
        replay: α, in [0, 1).

    Returns:
        p_{i,0} … p_{i,i-1}; they add up to 1.

    >>> reservoir_shares([300, 100], Fraction(1, 20))
    [Fraction(61, 80), Fraction(19, 80)]

    Source: paper A.1, Eq. 5. The side condition printed there (p_{j+1,j} = 1 for every j) would contradict the
    authors' own configurations for j ≥ 1 and is left out.
    """
    history: list[list[Fraction]] = [[]]
    for stage in range(1, len(sizes) + 1):
        shares: list[Fraction] = []
        for j in range(stage):
            seen = sizes[j] * ((1 - replay) if j else Fraction(1))
            seen += sum(
                (history[k][j] * sizes[k] * replay for k in range(j + 1, stage)), Fraction(0)
            )
            shares.append(seen / sum(sizes[:stage]))
        history.append(shares)
    return history[-1]
