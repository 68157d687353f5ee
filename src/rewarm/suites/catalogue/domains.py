"""One domain after the other, or all of them mixed (paper appendix A.1, Figure 10)."""

from rewarm.suites.stages import base, tokens, update
from rewarm.suites.suite import Claim, Difference, Setting, Suite
from rewarm.suites.tier import Tier

REPLAY = "5%"
DOMAINS = ("weak", "strong")
"""The domains, in the order in which they are met. The paper has SlimPajama's seven."""


def settings(tier: Tier) -> dict[str, Setting]:
    """Return both ways to the same tokens of each domain, with 5 % of replay from all that was seen (Eq. 5)."""
    share = tier.update_tokens / len(DOMAINS)
    datasets = ("d0", *DOMAINS)
    one_by_one = [
        update(tier, domain, name=domain, budget=tokens(share), replay=REPLAY) for domain in DOMAINS
    ]
    return {
        "one-by-one": Setting(
            datasets=datasets, stages=[base(tier), *one_by_one], arms={"one-by-one": {}}
        ),
        "mixed": Setting(
            datasets=datasets,
            stages=[base(tier), update(tier, *DOMAINS, replay=REPLAY)],
            arms={"mixed": {}},
        ),
    }


SUITE = Suite(
    name="domains",
    question="Is it better to mix domains than to meet them one after the other?",
    source="appendix A.1, Figure 10",
    settings=settings,
    claims=[
        Claim(
            text="Domains that are mixed are learnt better, all of them together.",
            source="Figure 10: 2.51 against 2.84",
            differences=[
                Difference(
                    label="mean loss on the domains, mixed less one by one",
                    value=lambda o: (
                        o["mixed/mixed"].average(*DOMAINS)
                        - o["one-by-one/one-by-one"].average(*DOMAINS)
                    ),
                    at_most=0.0,
                )
            ],
        ),
        Claim(
            text="Domains that are mixed make the model forget less.",
            source="Figure 10: 2.23 against 2.44",
            differences=[
                Difference(
                    label="loss on D0, mixed less one by one",
                    value=lambda o: (
                        o["mixed/mixed"].final("d0") - o["one-by-one/one-by-one"].final("d0")
                    ),
                    at_most=0.0,
                )
            ],
        ),
    ],
)
