"""Infinite schedules against the cosine on one dataset (paper section 7.3, Figure 8)."""

from rewarm.suites.stages import BASE, base, infinite
from rewarm.suites.suite import Claim, Difference, Setting, Suite
from rewarm.suites.tier import Tier

SHAPES = {"infinite-cosine": "cosine", "infinite-inverse-sqrt": "inverse-sqrt"}
TOLERANCE = 0.02
"""How near the schedules must end; the paper's end within 0.01."""


def settings(tier: Tier) -> dict[str, Setting]:
    """Return the pre-training on D0 under three schedules, annealed at the end."""
    lengths = {"cooldown": "60%", "constant": "25%"}
    return {
        "d0": Setting(
            datasets=("d0",),
            stages=[base(tier)],
            arms={"cosine": {}}
            | {
                arm: {f"stages.{BASE}.schedule": infinite(tier, shape, **lengths)}
                for arm, shape in SHAPES.items()
            },
        )
    }


SUITE = Suite(
    name="infinite",
    question="Does an infinite schedule, once annealed, end where a cosine does?",
    source="section 7.3, Figure 8, Table 12",
    settings=settings,
    claims=[
        Claim(
            text=f"{arm} ends where the cosine does.",
            source="Table 12; here: within 0.02",
            ordering="e",
            differences=[
                Difference(
                    label=f"loss on D0, {arm} less cosine",
                    value=lambda o, arm=arm: (
                        o[f"d0/{arm}"].final("d0") - o["d0/cosine"].final("d0")
                    ),
                    at_least=-TOLERANCE,
                    at_most=TOLERANCE,
                )
            ],
        )
        for arm in SHAPES
    ],
)
