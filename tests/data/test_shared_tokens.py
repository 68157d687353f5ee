"""Parts of one text are read from one store; whole texts keep stores of their own."""

import pytest
from tests.tiny import CAMPAIGN, Tiny, write_tiny

from rewarm.campaign import load_campaign
from rewarm.data.batches import Batches
from rewarm.data.datasets import open_campaign, prepare_campaign
from rewarm.errors import CampaignError
from rewarm.plan import make_plan
from rewarm.plan.epochs import check_epochs

THIRDS = "".join(
    f'[data.{name}]\ntrain = ["old.jsonl"]\nvalidation = ["old.valid.jsonl"]\n{part}\n\n'
    for name, part in [
        ("first", 'split = "1/3"'),
        ("whole", ""),
        ("second", 'split = "2/3"'),
        ("third", 'split = "3/3"\norder = "sequential"'),
        ("other", 'split = "1/3"\ntext = "body"'),
    ]
)


def campaign_of(tiny: Tiny, more: str):
    text = CAMPAIGN.replace("[data.old]", f"{more}[data.old]")
    tiny.file.write_text(text, encoding="utf-8")
    return load_campaign(tiny.file)


@pytest.fixture
def tiny(tmp_path) -> Tiny:
    return write_tiny(tmp_path)


def test_parts_of_a_text_have_one_owner_and_other_text_another(tiny):
    campaign = campaign_of(tiny, THIRDS).campaign
    owners = campaign.token_owners()
    assert owners == {
        "first": "first",
        "second": "first",
        "third": "first",
        "whole": "whole",
        "other": "other",
        "old": "old",
        "new": "new",
    }


def test_parts_are_prepared_once_and_are_all_of_the_text(tiny):
    thirds = THIRDS[: THIRDS.index("[data.other]")]
    loaded = campaign_of(tiny, thirds)
    prepare_campaign(loaded.campaign, loaded.root, tiny.prepared, workers=1)
    data = open_campaign(loaded.campaign, loaded.root, tiny.prepared)
    prepared = {path.parent.name for path in tiny.prepared.glob("*/train")}
    assert prepared == {"first", "whole", "old", "new"}
    names = ["first", "second", "third"]
    batches = Batches(
        stream=make_plan(loaded).stages[0].stream,
        stores={name: data.train[name] for name in names},
        orders={name: loaded.campaign.data[name].order for name in names},
        parts={name: loaded.campaign.data[name].part for name in names},
        seed=7,
        batch_sequences=8,
        sequence_length=16,
    )
    readers = batches.readers()
    numbers = [
        number
        for name in names
        for number in readers[name].window_numbers(range(readers[name].order.length)).tolist()
    ]
    assert sorted(numbers) == list(range(data.train["first"].num_windows(16)))


def test_before_the_first_step_too_many_epochs_of_the_real_tokens_are_refused(tiny):
    """No tokens are declared, so the plan alone cannot know."""
    loaded = campaign_of(tiny, "")
    prepare_campaign(loaded.campaign, loaded.root, tiny.prepared, workers=1)
    data = open_campaign(loaded.campaign, loaded.root, tiny.prepared)
    there = data.train["old"].num_windows(16)
    enough = 24 * 8 / there
    for limit, is_refused in ((enough * 1.001, False), (enough * 0.999, True)):
        limited = load_campaign(tiny.file, [f"data.old.max_epochs={limit}"])
        plan = make_plan(limited)
        opened = open_campaign(limited.campaign, limited.root, tiny.prepared)
        if is_refused:
            with pytest.raises(CampaignError, match=r"data\.old\.max_epochs is"):
                check_epochs(plan, opened.num_windows)
        else:
            check_epochs(plan, opened.num_windows)
