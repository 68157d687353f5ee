"""The learning-rate schedules as a campaign file writes them; `kind` picks one.

Lengths are quantities; percentages are of the stage that has the schedule. The plan turns each into a
`rewarm.schedules.Piecewise`. Defaults are the paper's (Table 14).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from rewarm.campaign.quantities import Length, Number, parse_quantity

_ONE_PERCENT = parse_quantity("1%")
_NONE = parse_quantity("0%")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)


class Cosine(_Table):
    """Linear warmup to max_lr, then a cosine to min_lr at the stage's end (paper section 4.1)."""

    kind: Literal["cosine"]
    max_lr: Number
    """Peak; re-warming goes back up to it."""
    min_lr: Number | None = None
    """End value; a tenth of max_lr if not given."""
    warmup: Length = _ONE_PERCENT
    """Length of the linear warmup."""


class Infinite(_Table):
    """Warmup, cooldown to constant_lr, constant, annealing to min_lr (paper section 7.2)."""

    kind: Literal["infinite"]
    max_lr: Number
    """Peak."""
    constant_lr: Number | None = None
    """Value of the constant phase; half-way between max_lr and min_lr if not given."""
    min_lr: Number | None = None
    """End of the annealing; a tenth of max_lr if not given."""
    warmup: Length = _ONE_PERCENT
    """Length of the linear warmup."""
    cooldown: Length = parse_quantity("60%")
    """Length of the cooldown from max_lr to constant_lr."""
    constant: Length | None = None
    """Length of the constant phase; 25% if neither it nor annealing is given."""
    annealing: Length | None = None
    """Length of the annealing; the rest of the stage if not given. A trunk has "0%"."""
    cooldown_shape: Literal["cosine", "inverse-sqrt"] = "cosine"
    """Shape of the cooldown."""
    alpha: Number = 10.0
    """How sharply the inverse-square-root cooldown falls at first."""


class Constant(_Table):
    """The same rate throughout, after an optional warmup."""

    kind: Literal["constant"]
    lr: Number
    """The rate."""
    warmup: Length = _NONE
    """Length of the linear warmup."""


class Wsd(_Table):
    """Warmup, stable at max_lr, decay to min_lr (2404.06395; the 1-sqrt shape: 2405.18392)."""

    kind: Literal["wsd"]
    max_lr: Number
    """The stable rate."""
    min_lr: Number = 0.0
    """End value."""
    warmup: Length = _ONE_PERCENT
    """Length of the linear warmup."""
    decay: Length = parse_quantity("10%")
    """Length of the decay at the end."""
    shape: Literal["1-sqrt", "linear", "exponential", "cosine"] = "1-sqrt"
    """Shape of the decay."""


class LinearDecay(_Table):
    """Linear warmup, then a straight line to min_lr; to zero unless said otherwise (2502.15938)."""

    kind: Literal["linear"]
    max_lr: Number
    """Peak."""
    min_lr: Number = 0.0
    """End value."""
    warmup: Length = _ONE_PERCENT
    """Length of the linear warmup."""


class InverseSqrtRaffel(_Table):
    """max_lr for the first steps k, then max_lr·sqrt(k/step) (T5, 1910.10683)."""

    kind: Literal["inverse-sqrt-raffel"]
    max_lr: Number
    """Rate of the first steps."""
    constant: Length
    """How long it is held: k."""


class InverseSqrtZhai(_Table):
    """Linear warmup, reciprocal square root with a timescale, linear cooldown to zero (2106.04560)."""

    kind: Literal["inverse-sqrt-zhai"]
    max_lr: Number
    """Peak."""
    warmup: Length = _ONE_PERCENT
    """Length of the linear warmup."""
    timescale: Length
    """Steps after which the rate has fallen to max_lr/sqrt(2)."""
    cooldown: Length
    """Length of the linear cooldown to zero."""


class RepeatedCosine(_Table):
    """Warmup and cosine, several times within the stage: the baseline of the infinite schedules."""

    kind: Literal["repeated-cosine"]
    max_lr: Number
    """Peak of each."""
    min_lr: Number | None = None
    """End value of each; a tenth of max_lr if not given."""
    warmup: Length = _ONE_PERCENT
    """Length of each warmup; a percentage is of one repeat."""
    repeats: Annotated[int, Field(ge=1, strict=True)]
    """How many; the stage's steps must be a multiple of it."""


class ContinuedCosine(_Table):
    """No warmup: a cosine from the base's min_lr down to a hundredth of it (2407.07263)."""

    kind: Literal["continued-cosine"]
    base_min_lr: Number
    """The rate with which the base model's training ended."""
    factor: Number = 0.01
    """End value as a factor of base_min_lr."""


class Anneal(_Table):
    """From the rate at which the stage branches off down to min_lr over the whole stage."""

    kind: Literal["anneal"]
    min_lr: Number
    """End value."""
    shape: Literal["exponential", "linear", "cosine", "1-sqrt"] = "exponential"
    """Shape of the decay; the paper's is exponential."""


Schedule = Annotated[
    Cosine
    | Infinite
    | Constant
    | Wsd
    | LinearDecay
    | InverseSqrtRaffel
    | InverseSqrtZhai
    | RepeatedCosine
    | ContinuedCosine
    | Anneal,
    Field(discriminator="kind"),
]
