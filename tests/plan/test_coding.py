"""What new text costs in tokens under the tokenizer of the old."""

from rewarm.plan.coding import LEAST_RATIO, coding_line, coding_warnings


def test_text_that_is_coded_much_worse_is_pointed_out_with_what_it_costs():
    coded = {"english": 4.33, "german": 2.34, "dutch": 3.3}
    assert coding_warnings(["english", "german", "dutch"], coded) == [
        "data.german needs 1.85 times the tokens of data.english for the same text: 2.34 against 4.33 "
        "bytes per token"
    ]


def test_the_bound_is_a_ratio():
    for german, warned in ((4 * LEAST_RATIO, False), (4 * LEAST_RATIO - 0.01, True)):
        found = coding_warnings(["english", "german"], {"english": 4.0, "german": german})
        assert bool(found) == warned


def test_what_is_coded_better_or_is_not_prepared_gives_no_warning():
    assert coding_warnings(["german", "english"], {"english": 4.33, "german": 2.4}) == []
    assert coding_warnings(["english", "german"], {"german": 2.4}) == []
    assert coding_warnings(["english", "german"], {}) == []


def test_the_line_names_every_dataset():
    assert coding_line({"a": 1.0, "b": 2.345}) == "bytes of text per token: a 1.00, b 2.35"
