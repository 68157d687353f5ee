"""Epochs: of what was read as new, of the part that is read; limits refuse with numbers."""

from fractions import Fraction

import pytest

from rewarm.errors import CampaignError, DataError
from rewarm.plan.epochs import check_epochs, declared_tokens, epochs_of, in_tokens

SIZES = in_tokens({"english": 1601, "german": 1601})
ENGLISH, GERMAN, LAW = '["english.jsonl"]', '["german.jsonl"]', '["law.jsonl"]'


def with_key(files: str, key: str) -> tuple[str, str]:
    return (f"train = {files}", f"train = {files}\n{key}")


def times(stage, sizes=SIZES) -> dict[str, Fraction]:
    return {source: epochs.times for source, epochs in epochs_of(stage, sizes).items()}


def test_epochs_are_of_what_was_read_as_new(planned, pieces):
    """400 sequences of English, 360 of German, each out of 200; the replay of English does not count."""
    _, update, third = planned(pieces["both"] + pieces["third"]).stages
    assert times(update) == {"english": 2, "german": Fraction(9, 5)}
    assert times(third) == {"english": 2, "german": Fraction(9, 5)}


def test_a_declared_history_has_been_read(planned, pieces):
    """100 sequences of it before the 400: they are where the new data begins."""
    history = ("[evaluation]", '[history.english]\ntokens = "800 tokens"\n[evaluation]')
    stage = planned.stage(pieces["pretrain"], history)
    assert times(stage)["english"] == Fraction(500, 200)
    assert stage.stream.at(0).place == 100


def test_epochs_are_of_the_part_that_is_read(planned, pieces):
    """Of 200 sequences the first half is 100, the first of three parts of it 34, and of it 10 are used."""
    for keys, num_sequences in (
        ('range = "0 to 800 tokens"', 100),
        ('range = "0 to 800 tokens"\nsplit = "1/3"', 34),
        ('range = "0 to 800 tokens"\nsplit = "1/3"\nuse = "80 tokens"', 10),
    ):
        stage = planned.stage(pieces["pretrain"], with_key(ENGLISH, keys))
        assert times(stage)["english"] == Fraction(400, num_sequences)


def test_declared_tokens_are_of_sources_and_of_datasets_with_domains(planned, pieces):
    """300 sequences of web, 100 of law; together out of 500, as the dataset alone declares its tokens."""
    whole = ("[data.french]", '[data.french]\ntokens = "4,001 tokens"')
    law = with_key(LAW, 'tokens = "401 tokens"')
    stage = planned.stage(pieces["pretrain"].replace("english", "french"), whole, law)
    declared = declared_tokens(stage.campaign)
    assert declared == {"french": 4001, "french/law": 401}
    assert times(stage, in_tokens(declared)) == {"french": Fraction(4, 5), "french/law": 2}


def test_a_dataset_whose_domains_are_known_is_their_sum(planned, pieces):
    stage = planned.stage(pieces["pretrain"].replace("english", "french"))
    sizes = in_tokens({"french": 81, "french/web": 3201, "french/law": 401})
    assert times(stage, sizes)["french"] == Fraction(400, 450)


def test_more_epochs_than_allowed_are_refused_with_numbers(planned, pieces):
    plan = planned(pieces["both"], with_key(ENGLISH, "max_epochs = 1.5"))
    with pytest.raises(CampaignError) as refused:
        check_epochs(plan, SIZES)
    assert str(refused.value).splitlines() == [
        f"stage {plan.stages[0].folder} needs 3,200 tokens of data.english by its end = 2 epochs of its "
        "1,600; data.english.max_epochs is 1.5",
        "Give more data, raise the limit, or lower the budget of these stages.",
    ]


@pytest.mark.parametrize("limit", ["2", "2.0", "9"])
def test_as_many_epochs_as_allowed_are_fine(planned, pieces, limit):
    check_epochs(planned(pieces["both"], with_key(ENGLISH, f"max_epochs = {limit}")), SIZES)


def test_a_single_sequence_too_many_is_refused(planned, pieces):
    """400 sequences: 3,201 tokens have them, 3,200 have one less."""
    plan = planned(pieces["pretrain"], with_key(ENGLISH, "max_epochs = 1"))
    check_epochs(plan, in_tokens({"english": 3201}))
    with pytest.raises(CampaignError, match=r"data\.english\.max_epochs is 1"):
        check_epochs(plan, in_tokens({"english": 3200}))


def test_what_is_of_unknown_size_is_not_refused_yet(planned, pieces):
    check_epochs(planned(pieces["both"], with_key(ENGLISH, "max_epochs = 1")), in_tokens({}))


def test_a_stage_that_only_replays_it_is_not_to_blame(planned, pieces):
    plan = planned(pieces["both"], with_key(ENGLISH, "max_epochs = 1"))
    with pytest.raises(CampaignError) as refused:
        check_epochs(plan, SIZES)
    assert plan.stages[1].folder not in str(refused.value)


def test_domains_have_the_limit_of_their_dataset_unless_they_name_one(planned, pieces):
    french = pieces["pretrain"].replace("english", "french")
    limit = ("[data.french]", "[data.french]\nmax_epochs = 1")
    sizes = in_tokens({"french/web": 3201, "french/law": 401})
    with pytest.raises(CampaignError, match=r"data\.french\.domains\.law by its end = 2 epochs"):
        check_epochs(planned(french, limit), sizes)
    check_epochs(planned(french, limit, with_key(LAW, "max_epochs = 2")), sizes)


def test_a_part_that_is_not_there_is_refused(planned, pieces):
    plan = planned(pieces["pretrain"], with_key(ENGLISH, 'use = "1,601 tokens"'))
    check_epochs(plan, in_tokens({"english": 1609}))
    more = planned(pieces["pretrain"], with_key(ENGLISH, 'use = "1,608 tokens"'))
    with pytest.raises(DataError, match="use asks for 1,608 tokens"):
        check_epochs(more, SIZES)
