"""One domain after the other, or all of them mixed (paper appendix A.1, Figure 10)."""

from collections import Counter

from rewarm.suites.outcome import Outcome
from rewarm.suites.stages import base, tokens, update
from rewarm.suites.suite import Claim, Difference, Setting, Suite
from rewarm.suites.tier import Tier

REPLAY = "5%"
DOMAINS = ("weak", "strong")
"""The domains, in the order in which they are met. The paper has SlimPajama's seven."""


def settings(tier: Tier) -> dict[str, Setting]:
    """Return both ways to the same tokens of each domain, with 5 % of replay from all that was seen (Eq. 5)."""
    share = tier.update_tokens(*DOMAINS) / len(DOMAINS)
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


def off_reservoir(outcome: Outcome, stage: str, dataset: str) -> float:
    """Return by how many sequences what a stage replayed of a dataset is off the share that Equation 5 gives.

    pᵢⱼ = (sequences of dataset j read before stage i, replayed ones included) / (all that were read before)
    """
    before = list(outcome.stages)[: list(outcome.stages).index(stage)]
    seen = sum((outcome.read(name) for name in before), Counter[str]())
    replayed = outcome.replayed(stage)
    return replayed[dataset] - replayed.total() * seen[dataset] / seen.total()


SUITE = Suite(
    name="domains",
    question="Is it better to mix domains than to meet them one after the other?",
    source="appendix A.1, Figure 10",
    settings=settings,
    claims=[
        Claim(
            text="What a domain's update replays has the shares of what was seen until then, to the sequence.",
            source="A.1, Equation 5",
            ordering="g",
            differences=[
                Difference(
                    label=f"sequences of {dataset} replayed with {DOMAINS[-1]} less those of Equation 5",
                    value=lambda o, dataset=dataset: off_reservoir(
                        o["one-by-one/one-by-one"], DOMAINS[-1], dataset
                    ),
                    at_least=-1.0,
                    at_most=1.0,
                )
                for dataset in ("d0", *DOMAINS[:-1])
            ],
        ),
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
