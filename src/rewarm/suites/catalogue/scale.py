"""The comparison of updating and retraining at two model sizes (paper section 6.4, Figure 6, Table 4)."""

from rewarm.suites.stages import UPDATE, base, update
from rewarm.suites.suite import Claim, Difference, Setting, Suite
from rewarm.suites.tier import Tier

SHIFT = "strong"
REPLAY = "25%"
SIZES = ("small", "large")


def settings(tier: Tier) -> dict[str, Setting]:
    """Return an update with and without replay and its union baseline, at two sizes."""
    larger = {"model": {**tier.frame["model"], "preset": tier.sizes.larger_preset}}
    return {
        size: Setting(
            datasets=("d0", SHIFT),
            stages=[base(tier), update(tier, SHIFT)],
            arms={
                "no-replay": {},
                "replay": {f"stages.{UPDATE}.replay": REPLAY},
                "union": {"baseline": "union"},
            },
            changes=larger if size == "large" else {},
        )
        for size in SIZES
    }


SUITE = Suite(
    name="scale",
    question="Does it hold for a larger model?",
    source="section 6.4, Figure 6, Table 4",
    settings=settings,
    claims=[
        Claim(
            text=f"The {size} model updated with replay is as good on average as retrained on everything.",
            source="Table 4; here: at most 0.02 worse",
            differences=[
                Difference(
                    label=f"{size}: average loss, replay less union",
                    value=lambda o, size=size: (
                        o[f"{size}/replay"].average("d0", SHIFT)
                        - o[f"{size}/union"].average("d0", SHIFT)
                    ),
                    at_most=0.02,
                )
            ],
        )
        for size in SIZES
    ]
    + [
        Claim(
            text="Without replay the larger model forgets less.",
            source="Tables 2 and 4: 0.23 against 0.27",
            differences=[
                Difference(
                    label="forgetting without replay, large less small",
                    value=lambda o: (
                        o["large/no-replay"].forgetting("d0")
                        - o["small/no-replay"].forgetting("d0")
                    ),
                    at_most=0.0,
                )
            ],
        )
    ],
)
