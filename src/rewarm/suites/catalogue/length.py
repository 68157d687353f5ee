"""How much new data (paper appendix A.3)."""

from rewarm.suites.stages import UPDATE, base, tokens, update
from rewarm.suites.suite import Claim, Difference, Setting, Suite
from rewarm.suites.tier import Tier

SHIFTS = ("weak", "strong")
LONGEST = 1.5
"""The longest update, in updates of the tier; the others are one and two thirds of it."""
THIRDS = (1, 2, 3)


def settings(tier: Tier) -> dict[str, Setting]:
    """Return updates of three lengths by each shift, with and without 5 % of replay."""
    return {
        shift: Setting(
            datasets=("d0", shift),
            stages=[base(tier), update(tier, shift)],
            arms={
                f"{parts}-thirds{suffix}": {
                    f"stages.{UPDATE}.budget": tokens(
                        parts * LONGEST * tier.update_tokens(shift) / 3
                    ),
                    f"stages.{UPDATE}.replay": share,
                }
                for parts in THIRDS
                for suffix, share in (("", "0%"), ("-replay", "5%"))
            },
        )
        for shift in SHIFTS
    }


SUITE = Suite(
    name="length",
    question="Does replay help whatever the amount of new data?",
    source="appendix A.3",
    settings=settings,
    claims=[
        Claim(
            text="5% of replay removes forgetting at every length of the update.",
            source="A.3",
            differences=[
                Difference(
                    label=f"{shift}: loss on D0 after {parts} thirds, with replay less without",
                    value=lambda o, shift=shift, parts=parts: (
                        o[f"{shift}/{parts}-thirds-replay"].final("d0")
                        - o[f"{shift}/{parts}-thirds"].final("d0")
                    ),
                    at_most=0.0,
                )
                for shift in SHIFTS
                for parts in THIRDS
            ],
        ),
        Claim(
            text="More new data is learnt better.",
            source="A.3",
            differences=[
                Difference(
                    label=f"{shift}: loss on D1 after {more} thirds less after {more - 1}",
                    value=lambda o, shift=shift, more=more: (
                        o[f"{shift}/{more}-thirds"].final(shift)
                        - o[f"{shift}/{more - 1}-thirds"].final(shift)
                    ),
                    at_most=0.0,
                )
                for shift in SHIFTS
                for more in THIRDS[1:]
            ],
        ),
    ],
)
