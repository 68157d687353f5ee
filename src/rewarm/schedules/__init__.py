"""Learning-rate schedules as pure functions of the step: segments joined end to end.

A schedule is called with an optimizer step, counted from 1, and returns the absolute learning rate of that
step. No torch, no state: nothing of a schedule is ever read back from a checkpoint.

>>> from rewarm import schedules
>>> trunk = schedules.infinite(
...     max_lr=3e-4, constant_lr=1.65e-4, min_lr=3e-5,
...     warmup_steps=10, cooldown_steps=600, constant_steps=390, steps=1000,
... )
>>> trunk(10), trunk(860), trunk(5000)
(0.0003, 0.000165, 0.000165)

An annealed branch leaves the trunk at any step, also beyond its end, and changes nothing before that:

>>> annealing = schedules.annealing(start_lr=trunk(860), min_lr=3e-5, steps=140)
>>> branch = trunk.until(860).then(annealing)
>>> branch(860) == trunk(860), branch(1000)
(True, 3e-05)
>>> [(phase.name, phase.first_step, phase.last_step) for phase in branch.phases()]
[('linear', 1, 10), ('cosine', 11, 610), ('constant', 611, 860), ('exponential', 861, 1000)]
"""

from rewarm.schedules.piecewise import Part, Phase, Piecewise
from rewarm.schedules.recipes import (
    CooldownShape,
    DecayShape,
    annealing,
    constant,
    continued_cosine,
    infinite,
    inverse_sqrt_raffel,
    inverse_sqrt_zhai,
    repeated_cosine,
    warmup_cosine,
    warmup_linear,
    wsd,
)
from rewarm.schedules.segments import (
    Constant,
    Cosine,
    Exponential,
    InverseSqrt,
    Linear,
    OneMinusSqrt,
    ReciprocalSqrt,
    Segment,
)

__all__ = [
    "Constant",
    "CooldownShape",
    "Cosine",
    "DecayShape",
    "Exponential",
    "InverseSqrt",
    "Linear",
    "OneMinusSqrt",
    "Part",
    "Phase",
    "Piecewise",
    "ReciprocalSqrt",
    "Segment",
    "annealing",
    "constant",
    "continued_cosine",
    "infinite",
    "inverse_sqrt_raffel",
    "inverse_sqrt_zhai",
    "repeated_cosine",
    "warmup_cosine",
    "warmup_linear",
    "wsd",
]
