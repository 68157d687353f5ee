"""How much of the old data an update has to re-read (paper section 6.2, Figure 4, Table 2)."""

from itertools import pairwise

from rewarm.suites.stages import UPDATE, base, update
from rewarm.suites.suite import Claim, Difference, Setting, Suite
from rewarm.suites.tier import Tier

SHARES = {
    "weak": ("0%", "0.5%", "1%", "5%", "10%", "50%"),
    "strong": ("0%", "1%", "5%", "10%", "25%", "50%"),
}
REMOVED_BY_ONE_PERCENT = {"weak": 0.67, "strong": 0.53}
"""How much of the forgetting 1 % of replay removed in the paper (Table 2)."""


def settings(tier: Tier) -> dict[str, Setting]:
    """Return an update by each shift, with more and more replay."""
    return {
        shift: Setting(
            datasets=("d0", shift),
            stages=[base(tier), update(tier, shift)],
            arms={share: {f"stages.{UPDATE}.replay": share} for share in shares},
        )
        for shift, shares in SHARES.items()
    }


def _claims(shift: str) -> list[Claim]:
    shares = SHARES[shift]
    return [
        Claim(
            text=f"More replay forgets less, {shift} shift.",
            source="Table 2",
            ordering="a",
            differences=[
                Difference(
                    label=f"{shift}: forgetting with {more} less that with {less}",
                    value=lambda o, less=less, more=more: (
                        o[f"{shift}/{more}"].forgetting("d0")
                        - o[f"{shift}/{less}"].forgetting("d0")
                    ),
                    at_most=0.0,
                )
                for less, more in pairwise(shares)
            ],
        ),
        Claim(
            text=f"Up to 10% of replay costs at most 0.02 on the new data, {shift} shift.",
            source="Table 2: 0.01 (weak), 0.02 (strong) at 10%",
            ordering="a",
            differences=[
                Difference(
                    label=f"{shift}: loss on D1 with {share} less that with 0%",
                    value=lambda o, share=share: (
                        o[f"{shift}/{share}"].final(shift) - o[f"{shift}/0%"].final(shift)
                    ),
                    at_most=0.02,
                )
                for share in shares[1:]
                if float(share.rstrip("%")) <= 10
            ],
        ),
        Claim(
            text=f"1% of replay removes {REMOVED_BY_ONE_PERCENT[shift]:.0%} of the forgetting, {shift} shift.",
            source="Table 2; here: at least nine tenths of that",
            ordering="b",
            differences=[
                Difference(
                    label=f"{shift}: share of the forgetting that 1% removes",
                    value=lambda o: (
                        1 - o[f"{shift}/1%"].forgetting("d0") / o[f"{shift}/0%"].forgetting("d0")
                    ),
                    at_least=0.9 * REMOVED_BY_ONE_PERCENT[shift],
                )
            ],
        ),
    ]


SUITE = Suite(
    name="replay",
    question="How much of the old data must an update re-read?",
    source="section 6.2, Figure 4, Table 2",
    settings=settings,
    claims=[claim for shift in SHARES for claim in _claims(shift)],
)
