"""Re-warming where nothing shifts: what of the forgetting is its own (paper section 7.1, Figure 7)."""

from rewarm.suites.stages import UPDATE, base, constant, cosine, update
from rewarm.suites.suite import Claim, Difference, Setting, Suite
from rewarm.suites.tier import Tier


def settings(tier: Tier) -> dict[str, Setting]:
    """Return an update on more of D0, at constant min_lr and re-warmed to three peaks."""
    schedule = f"stages.{UPDATE}.schedule"
    return {
        "no-shift": Setting(
            datasets=("d0",),
            stages=[base(tier), update(tier, "d0")],
            arms={
                "constant-min": {schedule: constant(tier, at_max=False)},
                "half": {schedule: cosine(tier, peak=0.5)},
                "same": {},
                "twice": {schedule: cosine(tier, peak=2.0)},
            },
        )
    }


def _rise(arm: str, other: str | None = None) -> Difference:
    """Return how high the loss rises above the start; or how much less than in another arm."""
    label = f"rise of the loss, {arm}" + (f" less {other}" if other else "")
    return Difference(
        label=label,
        value=lambda o: (
            o[f"no-shift/{arm}"].rise("d0") - (o[f"no-shift/{other}"].rise("d0") if other else 0.0)
        ),
        at_least=float("-inf") if other else 0.0,
        at_most=0.0 if other else float("inf"),
    )


SUITE = Suite(
    name="same-data",
    question="Does re-warming raise the loss although the data stays the same?",
    source="section 7.1, Figure 7",
    settings=settings,
    claims=[
        Claim(
            text="Re-warming on the same data raises the loss before it falls.",
            source="Figure 7: by 0.1 at the same peak",
            ordering="d",
            differences=[_rise("same"), _rise("twice")],
        ),
        Claim(
            text="The loss rises more, the higher the peak.",
            source="Figure 7",
            ordering="d",
            differences=[
                _rise("constant-min", "half"),
                _rise("half", "same"),
                _rise("same", "twice"),
            ],
        ),
    ],
)
