"""How long to warm up (paper section 6.1, Figure 2)."""

from itertools import combinations

from rewarm.suites.stages import UPDATE, base, update
from rewarm.suites.suite import Claim, Difference, Setting, Suite
from rewarm.suites.tier import Tier

SHIFTS = ("weak", "strong")
LENGTHS = ("0%", "0.5%", "1%", "2%")


def settings(tier: Tier) -> dict[str, Setting]:
    """Return an update by each shift, without replay, with warmups of several lengths."""
    return {
        shift: Setting(
            datasets=("d0", shift),
            stages=[base(tier), update(tier, shift)],
            arms={length: {f"stages.{UPDATE}.schedule.warmup": length} for length in LENGTHS},
        )
        for shift in SHIFTS
    }


def _alike(shift: str, dataset: str) -> list[Difference]:
    which = "D0" if dataset == "d0" else "D1"
    return [
        Difference(
            label=f"{shift}: loss on {which}, warmup of {one} less {other}",
            value=lambda o, one=one, other=other: (
                o[f"{shift}/{one}"].final(dataset) - o[f"{shift}/{other}"].final(dataset)
            ),
            at_least=-0.02,
            at_most=0.02,
        )
        for one, other in combinations(LENGTHS, 2)
    ]


SUITE = Suite(
    name="warmup",
    question="Does the length of the warmup matter?",
    source="section 6.1, Figure 2",
    settings=settings,
    claims=[
        Claim(
            text=f"The length of the warmup makes no difference, {shift} shift.",
            source="Figure 2; here: at most 0.02 at the end",
            differences=[*_alike(shift, shift), *_alike(shift, "d0")],
        )
        for shift in SHIFTS
    ],
)
