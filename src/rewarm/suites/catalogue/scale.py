"""Updating against retraining at two model sizes, weak shift (paper section 6.4, Figure 6, Table 4)."""

from dataclasses import replace

from rewarm.suites.catalogue import final
from rewarm.suites.suite import Claim, Difference, Setting, Suite
from rewarm.suites.tier import Tier

SHIFT = "weak"
SIZES = ("small", "large")


def settings(tier: Tier) -> dict[str, Setting]:
    """Return the suite `final` under weak shift, at two sizes."""
    small = final.settings(tier)[SHIFT]
    larger = {"model": {**tier.frame["model"], "preset": tier.sizes.larger_preset}}
    return {"small": small, "large": replace(small, changes=larger)}


def _average(size: str, arm: str, other: str, at_most: float) -> Difference:
    return Difference(
        label=f"{size}: average loss, {arm} less {other}",
        value=lambda o: (
            o[f"{size}/{arm}"].average("d0", SHIFT) - o[f"{size}/{other}"].average("d0", SHIFT)
        ),
        at_most=at_most,
    )


def _forgetting(label: str, larger: str, smaller: str) -> Difference:
    return Difference(
        label=label,
        value=lambda o: o[larger].forgetting("d0") - o[smaller].forgetting("d0"),
        at_most=0.0,
    )


SUITE = Suite(
    name="scale",
    question="Does it hold for a larger model?",
    source="section 6.4, Figure 6, Table 4",
    settings=settings,
    claims=[
        Claim(
            text="At both sizes an update with replay is as good on average as retraining on everything.",
            source="Table 4; here: at most 0.02 worse",
            differences=[_average(size, "replay", "union", final.TOLERANCE) for size in SIZES],
        ),
        Claim(
            text="At both sizes replay removes forgetting.",
            source="Tables 2 and 4: 0.21 (405M), 0.19 (9.6B)",
            differences=[
                _forgetting(
                    f"{size}: forgetting, replay less no-replay",
                    f"{size}/replay",
                    f"{size}/no-replay",
                )
                for size in SIZES
            ],
        ),
        Claim(
            text="Without replay the larger model forgets less.",
            source="Tables 2 and 4: 0.23 against 0.27",
            differences=[
                _forgetting(
                    "forgetting without replay, large less small",
                    "large/no-replay",
                    "small/no-replay",
                )
            ],
        ),
    ],
)
