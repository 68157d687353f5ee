"""How high to re-warm, and whether to decay again (paper section 6.1, Figure 3, Table 12)."""

from itertools import pairwise

from rewarm.suites.stages import UPDATE, base, constant, cosine, update
from rewarm.suites.suite import Claim, Difference, Setting, Suite
from rewarm.suites.tier import Tier

SHIFTS = ("weak", "strong")


def settings(tier: Tier) -> dict[str, Setting]:
    """Return an update by each shift: at a constant rate, and re-warmed to three peaks."""
    schedule = f"stages.{UPDATE}.schedule"
    return {
        shift: Setting(
            datasets=("d0", shift),
            stages=[base(tier), update(tier, shift)],
            arms={
                "constant-min": {schedule: constant(tier, at_max=False)},
                "constant-max": {schedule: constant(tier, at_max=True, warmup="1%")},
                "half": {schedule: cosine(tier, peak=0.5)},
                "same": {},
                "twice": {schedule: cosine(tier, peak=2.0)},
            },
        )
        for shift in SHIFTS
    }


def _final(shift: str, dataset: str, arm: str, other: str) -> Difference:
    """Return the final loss of one arm less that of another, which should not be above zero."""
    which = "D0" if dataset == "d0" else "D1"
    return Difference(
        label=f"{shift}: loss on {which}, {arm} less {other}",
        value=lambda o: o[f"{shift}/{arm}"].final(dataset) - o[f"{shift}/{other}"].final(dataset),
        at_most=0.0,
    )


def _claims(shift: str) -> list[Claim]:
    peaks = ("constant-min", "half", "same", "twice")
    return [
        Claim(
            text=f"Re-warmed and re-decayed learns more than constant min_lr, {shift} shift.",
            source="Table 12",
            ordering="c",
            differences=[_final(shift, shift, "same", "constant-min")],
        ),
        Claim(
            text=f"Re-warmed and re-decayed learns more than constant max_lr, {shift} shift.",
            source="Figure 3",
            ordering="c",
            differences=[_final(shift, shift, "same", "constant-max")],
        ),
        Claim(
            text=f"A higher peak forgets more, {shift} shift.",
            source="Table 12",
            differences=[_final(shift, "d0", less, more) for less, more in pairwise(peaks)],
        ),
        Claim(
            text=f"A higher peak learns at least as much of the new data, {shift} shift.",
            source="Table 12",
            differences=[_final(shift, shift, more, less) for less, more in pairwise(peaks[1:])],
        ),
    ]


SUITE = Suite(
    name="rewarming",
    question="Must the learning rate be re-warmed and re-decayed, and how high?",
    source="section 6.1, Figure 3, Table 12",
    settings=settings,
    claims=[claim for shift in SHIFTS for claim in _claims(shift)],
)
