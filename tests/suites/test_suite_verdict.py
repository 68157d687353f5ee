"""What suites came to, in sentences."""

import pytest

from rewarm.suites.verdict import suite_sentence, suites_sentence
from tests.suites.results import arm, claim, result

HELD = claim("A holds.", [-0.1, -0.11, -0.12], at_most=0.0)
FAILED = claim("B fails.", [0.1, 0.11, 0.12], at_most=0.0, labels=("b", "c"))
OPEN = claim("C is open.", [-0.1, 0.1, 0.0], at_most=0.0)
ARMS = [arm("a", seed, 3.0, 2.0) for seed in (1, 2, 3)]


@pytest.mark.parametrize(
    ("claims", "waiting", "sentence"),
    [
        ([HELD], [], "Of 1 claim 1 held."),
        (
            [HELD, HELD, OPEN],
            ["D."],
            "Of 3 claims 2 held and 1 is undecided. 1 claim waits for runs.",
        ),
        (
            [FAILED, OPEN, OPEN],
            [],
            "Of 3 claims 1 did not hold and 2 are undecided. Did not hold: “B fails” "
            "(b: +0.085 to +0.135, asked ≤ +0, and 1 more).",
        ),
        ([], ["D.", "E."], "No claim can be judged yet: 2 claims wait for runs."),
    ],
)
def test_of_one_suite(claims, waiting, sentence):
    assert suite_sentence(result(ARMS, claims, waiting)) == sentence


def test_of_several():
    first = result(ARMS, [HELD, FAILED, OPEN], ["D."])
    second = result(ARMS[:1], [HELD], tier="mini")
    assert suites_sentence([first, second]) == (
        "Of 4 claims in 2 suites 2 held, 1 did not and 1 is undecided, "
        "over 1 to 3 seeds at tiers micro and mini; 1 claim waits for runs."
    )
    assert suites_sentence([]) == "No claim can be judged yet."
