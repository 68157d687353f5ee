"""Several updates one after the other: a trunk with annealed branches against repeated cosines (Figure 9)."""

from rewarm.suites.stages import cosine, infinite, tokens
from rewarm.suites.suite import Claim, Difference, Setting, Suite
from rewarm.suites.tier import Tier

SPLITS = (1, 2, 3)
SHAPES = {"infinite-cosine": "cosine", "infinite-inverse-sqrt": "inverse-sqrt"}
BRANCH_AT = 0.86
"""Where the annealed branch leaves a split (paper Table 14: 1 + 60 + 25 %)."""
TOLERANCE = 0.02
"""How near to the repeated cosine an annealed branch must end."""


def settings(tier: Tier) -> dict[str, Setting]:
    """Return three splits of D0 that go on where the one before stopped, under the three schedules."""
    return {
        "cosine": Setting(
            datasets=("d0",),
            stages=[
                {
                    "name": f"split-{n}",
                    "data": {"d0": 1},
                    "budget": tier.update_budget("d0"),
                    "schedule": cosine(tier),
                }
                for n in SPLITS
            ],
            arms={"cosine": {}},
        ),
        "infinite": Setting(
            datasets=("d0",),
            stages=[stage for n in SPLITS for stage in (_trunk(tier, n), _branch(tier, n))],
            arms={
                arm: {"stages.split-1.schedule.cooldown_shape": shape}
                for arm, shape in SHAPES.items()
            },
        ),
    }


def _trunk(tier: Tier, n: int) -> dict[str, object]:
    """Return a split of the trunk, which is never annealed and carries its constant rate on."""
    stage: dict[str, object] = {
        "name": f"split-{n}",
        "data": {"d0": 1},
        "budget": tier.update_budget("d0"),
    }
    if n == 1:
        return stage | {
            "schedule": infinite(tier, "cosine", cooldown="60%", annealing="0%"),
        }
    return stage | {"after": f"split-{n - 1}"}


def _branch(tier: Tier, n: int) -> dict[str, object]:
    """Return the annealed branch of a split: the last part of it again, under a falling rate."""
    return {
        "name": f"release-{n}",
        "after": f"split-{n}",
        "at": f"{100 * BRANCH_AT:g}%",
        "budget": tokens((1 - BRANCH_AT) * tier.update_tokens("d0")),
        "optimizer": "keep",
        "schedule": {
            "kind": "anneal",
            "min_lr": tier.sizes.min_lr,
            "shape": "exponential",
        },
    }


SUITE = Suite(
    name="updates",
    question="Can one trunk, annealed whenever a model is due, replace re-warmed cosines?",
    source="section 7.4, Figure 9, Table 12",
    settings=settings,
    claims=[
        Claim(
            text=f"Each annealed branch of {arm} ends where the cosine of its split does.",
            source="Figure 9; here: within 0.02",
            ordering="e",
            differences=[
                Difference(
                    label=f"loss on D0, release-{n} of {arm} less split-{n} of cosine",
                    value=lambda o, arm=arm, n=n: (
                        o[f"infinite/{arm}"].final("d0", stage=f"release-{n}")
                        - o["cosine/cosine"].final("d0", stage=f"split-{n}")
                    ),
                    at_least=-TOLERANCE,
                    at_most=TOLERANCE,
                )
                for n in SPLITS
            ],
        )
        for arm in SHAPES
    ]
    + [
        Claim(
            text="Where an update begins, the trunk loses less than a re-warmed cosine.",
            source="Figure 9",
            differences=[
                Difference(
                    label=f"highest rise of the loss in split {n}, trunk of {arm} less cosine",
                    value=lambda o, arm=arm, n=n: (
                        o[f"infinite/{arm}"].rise("d0", stage=f"split-{n}")
                        - o["cosine/cosine"].rise("d0", stage=f"split-{n}")
                    ),
                    at_most=0.0,
                )
                for arm in SHAPES
                for n in SPLITS[1:]
            ],
        )
    ],
)
