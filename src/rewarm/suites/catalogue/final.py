"""Updating against retraining (paper section 6.3, Figures 1 and 5, Tables 2 and 3)."""

from rewarm.suites.stages import UPDATE, base, update
from rewarm.suites.suite import Claim, Difference, Setting, Suite
from rewarm.suites.tier import Tier

REPLAY = {"weak": "5%", "strong": "25%"}
"""How much the paper replays (section 6.3)."""
TOLERANCE = 0.02
"""How near to retraining an update must come; the paper's two differ by 0.02 (weak) and 0.00 (strong)."""


def settings(tier: Tier) -> dict[str, Setting]:
    """Return an update by each shift with and without replay, D1 alone, and all data, from scratch."""
    return {
        shift: Setting(
            datasets=("d0", shift),
            stages=[base(tier), update(tier, shift)],
            arms={
                "no-replay": {},
                "replay": {f"stages.{UPDATE}.replay": share},
                "d1-only": {"baseline": "scratch"},
                "union": {"baseline": "union"},
            },
        )
        for shift, share in REPLAY.items()
    }


def _average(shift: str, arm: str, other: str, **bounds: float) -> Difference:
    return Difference(
        label=f"{shift}: average loss, {arm} less {other}",
        value=lambda o: (
            o[f"{shift}/{arm}"].average("d0", shift) - o[f"{shift}/{other}"].average("d0", shift)
        ),
        **bounds,
    )


def _claims(shift: str) -> list[Claim]:
    return [
        Claim(
            text=f"An update with replay is as good on average as retraining on everything, {shift} shift.",
            source="Table 2; here: at most 0.02 worse",
            ordering="f",
            differences=[_average(shift, "replay", "union", at_most=TOLERANCE)],
        ),
        Claim(
            text=f"An update with replay is better on average than one without, {shift} shift.",
            source="Table 2",
            differences=[_average(shift, "replay", "no-replay", at_most=0.0)],
        ),
        Claim(
            text=f"An update learns the new data better than training on it alone, {shift} shift.",
            source="Table 2: by 0.03 (weak), 0.06 (strong)",
            differences=[
                Difference(
                    label=f"{shift}: loss on D1, no-replay less d1-only",
                    value=lambda o: (
                        o[f"{shift}/no-replay"].final(shift) - o[f"{shift}/d1-only"].final(shift)
                    ),
                    at_most=0.0,
                )
            ],
        ),
    ]


SUITE = Suite(
    name="final",
    question="Does an update come to what retraining on everything would give?",
    source="section 6.3, Figures 1 and 5, Tables 2 and 3",
    settings=settings,
    claims=[claim for shift in REPLAY for claim in _claims(shift)],
)
