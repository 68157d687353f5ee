"""Results of suites as tests want them, judged as the real ones are."""

from rewarm.suites.judging import judge
from rewarm.suites.results import ArmResult, SuiteResult
from rewarm.suites.suite import Claim, Difference, Suite

SUITE = Suite(
    name="replay",
    question="How much must be read again?",
    source="section 6.2",
    settings=lambda _: {},
    claims=[],
)


def arm(name, seed, *losses, setting="strong", datasets=("d0", "strong"), tokens=1000):
    """Return an arm of a seed; a fraction of its losses goes with the seed."""
    final = {d: loss + seed / 100 for d, loss in zip(datasets, losses, strict=True)}
    return ArmResult(
        setting=setting,
        arm=name,
        seed=seed,
        final=final,
        before=dict.fromkeys(datasets, 5.0),
        update_tokens=tokens,
        update_flops=6e6 * tokens,
        weights_sha256=f"{seed:064x}",
    )


def claim(text, values, *, at_least=float("-inf"), at_most=float("inf"), labels=("a less b",)):
    """Return a claim that rests on these values, one for each seed, judged."""
    differences = [
        Difference(label=label, value=lambda o: o["x"], at_least=at_least, at_most=at_most)
        for label in labels
    ]
    made = Claim(text=text, source="Table 2", differences=differences)
    return judge(made, {seed: {"x": value} for seed, value in enumerate(values, start=1)})


def result(arms, claims=(), waiting=(), *, tier="micro"):
    """Return a result."""
    return SuiteResult(
        suite="replay",
        tier=tier,
        seeds=sorted({each.seed for each in arms}),
        arms=list(arms),
        claims=list(claims),
        open=list(waiting),
        parameters=1_122_144,
        versions={"torch": "2.13.0"},
        machine={"cpu_capability": "AVX2"},
    )


def usual():
    """Return a result with a claim of each verdict, two arms and a dearer third, over three seeds."""
    arms = [
        each
        for seed in (1, 2, 3)
        for each in (
            arm("0%", seed, 8.0, 3.5),
            arm("5%", seed, 5.5, 3.6),
            arm("union", seed, 4.8, 3.7, tokens=3000),
        )
    ]
    claims = [
        claim("More replay forgets less.", [-2.1, -2.0, -2.05], at_most=0.0),
        claim("It is learnt as well.", [0.05, 0.04, 0.06], at_least=-0.02, at_most=0.02),
        claim("It is quicker.", [0.4, 0.5, 0.6], at_least=0.5, labels=("share", "other share")),
    ]
    return result(arms, claims, ["More replay forgets less, weak shift."])
