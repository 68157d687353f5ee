"""Infinite schedules where the data shifts: what the paper leaves open (its section 8)."""

from rewarm.suites.stages import base, infinite, tokens, update
from rewarm.suites.suite import Claim, Difference, Setting, Suite
from rewarm.suites.tier import Tier

SHIFTS = ("weak", "strong")
REPLAY = {"weak": "5%", "strong": "25%"}
BRANCH_AT = 0.86


def settings(tier: Tier) -> dict[str, Setting]:
    """Return an update by each shift with replay: re-warmed from a cosine, and along an infinite trunk."""
    found: dict[str, Setting] = {}
    for shift in SHIFTS:
        found[f"cosine-{shift}"] = Setting(
            datasets=("d0", shift),
            stages=[base(tier), update(tier, shift, replay=REPLAY[shift])],
            arms={"cosine": {}},
        )
        found[f"infinite-{shift}"] = Setting(
            datasets=("d0", shift),
            stages=[
                base(tier, infinite(tier, "cosine", cooldown="60%", annealing="0%"), name="trunk"),
                {
                    "name": "update",
                    "data": {shift: 1},
                    "budget": tier.update_budget(shift),
                    "replay": REPLAY[shift],
                },
                {
                    "name": "release",
                    "after": "update",
                    "at": f"{100 * BRANCH_AT:g}%",
                    "budget": tokens((1 - BRANCH_AT) * tier.update_tokens(shift)),
                    "optimizer": "keep",
                    "schedule": {
                        "kind": "anneal",
                        "min_lr": tier.sizes.min_lr,
                        "shape": "exponential",
                    },
                },
            ],
            arms={"infinite": {}},
        )
    return found


SUITE = Suite(
    name="infinite-under-shift",
    question="Does an infinite schedule serve as well as re-warming where the data shifts?",
    source="left open by the paper, section 8",
    settings=settings,
    claims=[
        Claim(
            text=f"Along an infinite trunk an update ends no worse on average than re-warmed, {shift} shift.",
            source="ours; at most 0.02 worse at equal tokens",
            differences=[
                Difference(
                    label=f"{shift}: average loss, infinite less cosine",
                    value=lambda o, shift=shift: (
                        o[f"infinite-{shift}/infinite"].average("d0", shift)
                        - o[f"cosine-{shift}/cosine"].average("d0", shift)
                    ),
                    at_most=0.02,
                )
            ],
        )
        for shift in SHIFTS
    ],
)
