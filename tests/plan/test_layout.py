"""The arithmetic of a layout: which rows a rank reads, which blocks it has, how long it waits."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rewarm.plan.layout import Layout, blocks_of, bubble, rows_of

SIDE = st.integers(1, 8)


@given(SIDE, SIDE, SIDE, SIDE)
def test_the_ranks_are_the_product_of_the_sides(pipeline, replicate, shard, tensor):
    layout = Layout(
        micro_batch=1, pipeline=pipeline, replicate=replicate, shard=shard, tensor=tensor
    )
    assert layout.ranks == pipeline * replicate * shard * tensor
    assert layout.data == replicate * shard


@given(SIDE, SIDE, st.integers(1, 64))
def test_the_rows_of_the_data_ranks_are_the_batch_cut_up(replicate, shard, each):
    layout = Layout(micro_batch=1, replicate=replicate, shard=shard)
    batch = each * layout.data
    rows = [row for rank in range(layout.data) for row in rows_of(layout, rank, batch)]
    assert rows == list(range(batch))


@given(SIDE, st.integers(1, 8), st.integers(1, 8))
def test_micro_batches_are_what_a_rank_has_of_the_batch(shard, micro_batch, count):
    layout = Layout(micro_batch=micro_batch, shard=shard)
    assert layout.micro_batches(shard * micro_batch * count) == count


@given(st.data())
def test_the_stages_have_all_blocks_in_order_and_evenly(data):
    """None has two more than another, the last has no more than any, nor the first but with all others."""
    layers = data.draw(st.integers(1, 200))
    stages = blocks_of(layers, data.draw(st.integers(1, layers)))
    assert [block for stage in stages for block in stage] == list(range(layers))
    assert all(one.stop == two.start for one, two in pairwise(stages))
    counts = [len(stage) for stage in stages]
    assert max(counts) - min(counts) <= 1
    assert counts[-1] == min(counts)
    assert counts[0] == min(counts) or counts[:-1] == [max(counts)] * (len(counts) - 1)


@given(st.integers(1, 16), st.integers(1, 8), st.integers(1, 4))
def test_the_bubble_is_the_idle_part_of_a_timetable(pipeline, rounds, runs):
    """Counted in slots: v·m of work on each rank, and p - 1 until the last rank has its first micro-batch."""
    micro_batches = pipeline * rounds
    layout = Layout(micro_batch=1, pipeline=pipeline, stages_per_rank=runs)
    slots = pipeline - 1 + runs * micro_batches
    assert abs(bubble(layout, micro_batches) - (1 - runs * micro_batches / slots)) < 1e-12


def test_a_layout_names_the_sides_that_there_are():
    assert str(Layout(micro_batch=1)) == "one rank"
    assert str(Layout(micro_batch=1, pipeline=4, shard=69, tensor=6)) == (
        "pipeline 4 × shard 69 × tensor 6"
    )
