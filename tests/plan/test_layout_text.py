"""A spread as people see it, and as a program reads it."""

import json
from io import StringIO

from rich.console import Console

from rewarm.plan.choice import choose_layouts
from rewarm.plan.cost import cost
from rewarm.plan.layout_text import print_layouts, record_json
from rewarm.plan.text import memory_warnings
from rewarm.runs.records import RunRecord

SMALL_DEVICE = ("[evaluation]", "[parallel]\ndevice_memory = 0.001\n\n[evaluation]")
NO_VOCABULARY = ("vocabulary = 300", "")


def printed(plan, ranks: int) -> str:
    console = Console(file=StringIO(), width=160)
    print_layouts(console, choose_layouts(plan, ranks))
    return console.file.getvalue()


def test_the_table_has_a_row_for_each_rank_of_the_pipeline(planned, pieces):
    pipeline = ("[evaluation]", "[parallel]\npipeline = 2\n\n[evaluation]")
    text = printed(planned(pieces["both"], pipeline), 2)
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert len(rows) == 2
    assert "2 ranks, pipeline 2\n" in text
    assert "micro-batch 5, 2 of them in a step" in text
    assert "waits 33.3% of a step (1f1b)" in text
    assert "note:" not in text


def test_one_rank_waits_for_none(planned):
    text = printed(planned(), 1)
    assert text.startswith("1 rank\n")
    assert "waits" not in text


def test_gradients_are_said_to_be_divided_only_where_they_are(planned, pieces):
    """Two micro-batches are added up in whole gradients, unless weights are resharded."""
    small = ("[evaluation]", "[training]\nmicro_batch = 1\n\n[evaluation]")
    resharded = ("[evaluation]", "[parallel]\nreshard = true\n\n[evaluation]")
    divided = "shard 2: weights, gradients and optimizer state of "
    whole = "shard 2: weights and optimizer state of "
    assert divided in printed(planned(pieces["both"]), 2)
    assert whole in printed(planned(pieces["both"], small), 2)
    assert divided in printed(planned(pieces["both"], small, resharded), 2)


def test_what_does_not_fit_is_noted(planned, pieces):
    text = printed(planned(pieces["both"], SMALL_DEVICE), 2)
    assert "note: by the estimate this does not fit" in text


def test_stages_that_differ_are_named(planned):
    text = printed(planned(more='[arms]\na = {}\nb = { batch = "20 sequences" }\n'), 2)
    assert text.count("2 ranks, shard 2: pretrain-") == 2


def test_without_a_size_there_is_no_table(planned, pieces):
    text = printed(planned(pieces["both"], NO_VOCABULARY), 2)
    assert "│" not in text
    assert "the model's size is not known yet" in text


def test_json_has_the_record_and_each_layout(planned):
    plan = planned()
    found = json.loads(record_json(plan, choose_layouts(plan, 2)))
    assert RunRecord.model_validate(found["plan"]).arms
    (layout,) = found["layouts"]
    assert (layout["shard"], layout["micro_batch"], layout["micro_batches"]) == (2, 5, 1)
    assert RunRecord.model_validate_json(record_json(plan, None)).name == "small"


def test_one_rank_that_needs_more_than_a_device_has_is_noted(planned, pieces):
    small = planned(pieces["both"], SMALL_DEVICE)
    (note,) = memory_warnings(small, cost(small))
    assert "one rank would need" in note
    assert "more than the 0.001 GB of a device" in note
    assert memory_warnings(planned(), cost(planned())) == []
    unknown = planned(pieces["both"], SMALL_DEVICE, NO_VOCABULARY)
    assert memory_warnings(unknown, cost(unknown)) == []
