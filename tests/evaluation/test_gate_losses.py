"""The gate on losses and overlap: what holds, what is broken, and that nothing passes unmeasured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report.conftest import Builder

from rewarm.errors import CampaignError
from rewarm.evaluation.finding import Limit
from rewarm.evaluation.gate import judge
from rewarm.runs.files import write_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import EvalRecord, GateRecord, OverlapCount, OverlapRecord

BUILD = Builder()
LOSSES = st.floats(min_value=0.5, max_value=12, allow_nan=False)


def gate(**changes):
    values = {
        "policy": "report",
        "arms": ["main"],
        "from_scratch": ["pretrain-0a"],
        "base": None,
        "max_forgetting": {},
        "max_loss": {},
        "max_overlap": None,
        "tasks": [],
    }
    return GateRecord(**(values | changes))


def chain(path, losses, *, allowed, unfinished=(), evals=()):
    """A run whose stages follow each other; `losses` are before and final of english, by stage."""
    stages, parent = [], None
    for number, (before, final) in enumerate(losses):
        name = "pretrain" if number == 0 else f"update-{number}"
        record = BUILD.record(name, parent=parent, start_step=10 if parent else 0)
        last = evals if number == len(losses) - 1 else ()
        stage = (
            BUILD.begun(record, evals=list(last))
            if number in unfinished
            else BUILD.finished(record, (before, 1.0), (final, 1.0), evals=list(last))
        )
        stages.append(stage)
        parent = record.folder
    BUILD.write(path, stages, {"main": [s.record.folder for s in stages]})
    write_record(RunFolder(path).gate, gate(**allowed))
    return RunFolder(path)


def findings(run, arms=None):
    judgement = judge(run, arms)
    assert judgement is not None
    return judgement.findings


def evaluated(losses):
    return [
        EvalRecord(step=step, tokens=step * 128, dataset="english", loss=loss, sequences=8)
        for step, loss in losses.items()
    ]


FORGETTING = {"max_forgetting": {"english": 0.05}}


def test_a_run_without_a_gate_is_not_judged(tmp_path):
    run = chain(tmp_path, [(10, 3)], allowed={})
    run.gate.unlink()
    assert judge(run) is None


@pytest.mark.parametrize(("final", "state"), [(3.05, "held"), (2.5, "held"), (3.0501, "broken")])
def test_the_forgetting_of_an_update_is_that_of_the_paper(tmp_path, final, state):
    run = chain(tmp_path, [(10.0, 3.0), (3.0, final)], allowed=FORGETTING)
    (found,) = findings(run)
    assert (found.limit, found.stage) == ("max_forgetting.english", "update-1-0a")
    assert found.measured == pytest.approx(final - 3.0)
    assert found.state == state


def test_losses_do_not_add_up_unseen_over_several_updates(tmp_path):
    line = [(10.0, 3.0), (3.0, 3.04), (3.04, 3.08)]
    first, second = findings(chain(tmp_path, line, allowed=FORGETTING))
    assert (first.state, second.state) == ("held", "broken")
    assert second.measured == pytest.approx(0.08)


@given(
    losses=st.lists(st.tuples(LOSSES, LOSSES), min_size=2, max_size=4),
    allowed=st.floats(min_value=0, max_value=5),
)
def test_it_holds_exactly_where_no_earlier_start_was_better_by_more(
    tmp_path_factory, losses, allowed
):
    run = chain(
        tmp_path_factory.mktemp("run"), losses, allowed={"max_forgetting": {"english": allowed}}
    )
    for place, found in enumerate(findings(run), start=1):
        best = min(before for before, _ in losses[1 : place + 1])
        assert found.measured == losses[place][1] - best
        assert (found.state == "held") == (losses[place][1] - best <= allowed)


def test_random_weights_have_nothing_to_lose_and_a_trained_base_has(tmp_path):
    run = chain(tmp_path, [(3.0, 3.2)], allowed=FORGETTING)
    (found,) = findings(run)
    assert (found.state, found.stage) == ("not measured", None)
    assert "for no stage of the run" in found.message
    write_record(run.gate, gate(**FORGETTING, from_scratch=[], base="model"))
    (found,) = findings(run)
    assert (found.state, found.stage) == ("broken", "pretrain-0a")


def test_what_is_not_finished_is_not_held(tmp_path):
    run = chain(
        tmp_path,
        [(10.0, 3.0), (3.0, 3.0)],
        allowed=FORGETTING | {"max_loss": {"python": 2.0}},
        unfinished=(1,),
    )
    judgement = judge(run)
    assert judgement is not None
    assert not judgement.is_held
    assert not judgement.broken()
    assert [f.state for f in judgement.findings] == ["not measured"] * 2
    assert "`rewarm train` goes on with it" in judgement.findings[0].message
    assert judgement.summary() == "2 not measured"


def test_a_dataset_that_was_not_validated_is_not_held(tmp_path):
    run = chain(
        tmp_path,
        [(10.0, 3.0), (3.0, 3.0)],
        allowed={"max_forgetting": {"dutch": 1.0}, "max_loss": {"dutch": 9.0}},
    )
    for found in findings(run):
        assert found.state == "not measured"
        assert "without validation on dutch" in found.message


def test_the_final_loss_counts_where_an_arm_ends(tmp_path):
    run = chain(tmp_path, [(10.0, 4.0), (4.0, 2.9)], allowed={"max_loss": {"english": 3.0}})
    (found,) = findings(run)
    assert (found.stage, found.measured, found.state) == ("update-1-0a", 2.9, "held")


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ({0: 3.0, 2: 3.3, 4: 3.01, 6: 3.04, 8: 3.2, 10: 3.3}, "last held at step 6 of 10"),
        ({0: 3.0, 5: 3.2, 10: 3.3}, "it held at no evaluation in the stage"),
    ],
)
def test_what_is_broken_says_where_it_last_held_and_what_to_do(tmp_path, losses, said):
    run = chain(tmp_path, [(10.0, 3.0), (3.0, 3.3)], allowed=FORGETTING, evals=evaluated(losses))
    (found,) = findings(run)
    assert "0.3000 nats per token, 0.25 above the limit of 0.05" in found.message
    assert "More replay, a lower max_lr or an earlier annealing" in found.message
    assert said in found.message
    command = f'`rewarm anneal {run.path} --stage update-1 --arm main --at "6 steps"`'
    assert (command in found.message) == (6 in losses)


def two_arms(path, **changes):
    base = BUILD.record("pretrain")
    good = BUILD.record("update", key="01", parent=base.folder, start_step=10)
    bad = BUILD.record("update", key="02", parent=base.folder, start_step=10)
    stages = [
        BUILD.finished(base, (10.0, 10.0), (3.0, 4.0)),
        BUILD.finished(good, (3.0, 4.0), (3.0, 2.0)),
        BUILD.finished(bad, (3.0, 4.0), (4.0, 2.0)),
    ]
    arms = {"good": [base.folder, good.folder], "bad": [base.folder, bad.folder]}
    BUILD.write(path, stages, arms)
    write_record(RunFolder(path).gate, gate(**FORGETTING, **{"arms": ["good", "bad"]} | changes))
    return RunFolder(path)


def test_only_gated_arms_are_judged_and_of_these_those_asked_for(tmp_path):
    run = two_arms(tmp_path)
    assert [(f.arms, f.state) for f in findings(run)] == [(["good"], "held"), (["bad"], "broken")]
    assert [f.arms for f in findings(run, ["good"])] == [["good"]]
    with pytest.raises(CampaignError, match="not for an arm 'ugly'; it is for: good, bad"):
        judge(run, ["ugly"])
    write_record(run.gate, gate(**FORGETTING, arms=["good"]))
    assert [f.arms for f in findings(run)] == [["good"]]


def overlap(concerned):
    count = OverlapCount(
        validation="python",
        train="*",
        documents=100,
        tokens=1000,
        exact=concerned,
        near=0,
        ngram=0,
        ngram_share=0.0,
        concerned_documents=concerned,
        concerned_tokens=concerned,
    )
    return OverlapRecord(
        train={},
        validation={},
        shingle_words=5,
        jaccard=0.8,
        ngram_words=13,
        ngram_limit=0.5,
        counts=[count],
        found=[],
    )


def test_overlap_is_held_against_its_limit_and_must_be_measured(tmp_path):
    run = chain(tmp_path, [(10.0, 3.0)], allowed={"max_overlap": 0.01})
    (found,) = findings(run)
    assert found.state == "not measured"
    assert "`rewarm overlap FILE` measures it" in found.message
    for concerned, state in ((0, "held"), (1, "held"), (2, "broken")):
        write_record(run.overlap, overlap(concerned))
        (found,) = findings(run)
        assert (found.measured, found.state) == (concerned / 100, state)
    assert "That is python." in found.message


LIMIT = Limit(key="k", allowed=0.5, what="w", unit="", stage=None, arms=())


def test_what_is_not_a_number_holds_no_limit():
    least = Limit(key="k", allowed=0.5, what="w", unit="", is_most=False, stage=None, arms=())
    for limit in (LIMIT, least):
        assert limit.judged(float("nan"), "r").state == "broken"
        assert limit.judged(0.5, "r").state == "held"
    assert LIMIT.judged(0.6, "r").state == least.judged(0.4, "r").state == "broken"
    assert LIMIT.judged(0.4, "r").state == least.judged(0.6, "r").state == "held"


def test_a_value_nearer_to_its_limit_than_its_error_says_so():
    assert "may be chance" in LIMIT.judged(0.52, "r", 0.02).message
    assert "may be chance" not in LIMIT.judged(0.56, "r", 0.02).message
    assert "standard error" not in LIMIT.judged(0.52, "r", float("nan")).message
