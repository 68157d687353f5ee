"""The paper's groups load with every member from local files, ask what they should, and say what is missing."""

from contextlib import nullcontext

import pytest

from rewarm.errors import CampaignError, DataError
from rewarm.evaluation.comparison import compare_sides
from rewarm.evaluation.model import open_model
from rewarm.evaluation.results import Results
from rewarm.evaluation.scoring import Reader
from rewarm.evaluation.sides import Side

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed; see `make parity`")

from rewarm.evaluation.harness.loading import load_tasks
from rewarm.evaluation.harness.measuring import ask
from rewarm.evaluation.harness.task import STOCK

CONTEXT = 48
ARC = {"id": "1", "question": "a b", "choices": {"text": ["ab", "b"], "label": ["A", "B"]}}
MMLU_DE = {"instruction": " a?", **{f"option_{letter}": letter for letter in "abcd"}, "answer": "B"}
HELLASWAG = {
    "activity_label": "Bad",
    "ctx_a": "Wir [header] baden.",
    "ctx_b": "dann die Katze",
    "endings": ["geht ab", "b", "c", "d"],
    "label": "1",
}
ARC_DE = {
    "id": "1",
    "instruction": "Kraft [in N] ?",
    "answer": "B",
    **{f"option_{letter}": f"{letter} [m]" for letter in "abcd"},
    "option_e": None,
}
TRUTH = {
    "question": "b",
    "mc1_targets_choices": ["a", "b c"],
    "mc1_targets_labels": [1, 0],
    "mc2_targets_choices": ["a", "b c", "c"],
    "mc2_targets_labels": [1, 0, 1],
}


@pytest.fixture
def data(write_data, tmp_path):
    """Return a folder with a few rows for every task of the paper."""
    rows = {
        ("Rowan/hellaswag", "validation"): [HELLASWAG] * 3,
        ("allenai/winogrande/winogrande_xl", "validation"): [
            {"sentence": "ab _ was b.", "option1": "a", "option2": "cc", "answer": "2"}
        ]
        * 3,
        ("baber/piqa", "validation"): [{"goal": "a", "sol1": "b", "sol2": "c", "label": 1}] * 3,
        ("allenai/openbookqa/main", "test"): [
            {"question_stem": "a", "choices": ARC["choices"], "answerKey": "B"}
        ]
        * 3,
        ("allenai/ai2_arc/ARC-Easy", "test"): [ARC | {"answerKey": "A"}] * 3,
        ("allenai/ai2_arc/ARC-Challenge", "test"): [ARC | {"answerKey": "B"}] * 3,
        ("aps/super_glue/boolq", "validation"): [
            {"passage": "aa", "question": "b", "label": 1, "idx": 0}
        ]
        * 3,
        ("regisss/math_qa", "test"): [
            {"Problem": "a", "options": "a ) 1 , b ) 2 , c ) 3 , d ) 4 , e ) 5", "correct": "b"}
        ]
        * 3,
        ("truthfulqa/truthful_qa/multiple_choice", "validation"): [
            {
                "question": "a",
                "mc1_targets": {"choices": ["a", "b c"], "labels": [1, 0]},
                "mc2_targets": {"choices": ["a", "b c", "c"], "labels": [1, 1, 0]},
            }
        ]
        * 3,
        ("google-research-datasets/nq_open", "validation"): [{"question": "a", "answer": ["b"]}]
        * 3,
        ("google-research-datasets/nq_open", "train"): [
            {"question": f"q{n}", "answer": ["c", "d"]} for n in range(9)
        ],
        ("mandarjoshi/trivia_qa/rc.nocontext", "validation"): [
            {"question": "a", "answer": {"aliases": ["b", "c"]}}
        ]
        * 3,
        ("mandarjoshi/trivia_qa/rc.nocontext", "train"): [
            {"question": f"q{n}", "answer": {"aliases": ["c"]}} for n in range(9)
        ],
        ("triviaqa_de", "validation"): [{"question": "ä", "answers": ["b", "c"]}] * 3,
        ("triviaqa_de", "train"): [{"question": f"q{n}", "answers": ["c"]} for n in range(9)],
        ("alexandrainst/m_hellaswag/de", "val"): [HELLASWAG] * 3,
        ("alexandrainst/m_arc/de", "test"): [ARC_DE] * 3,
        ("alexandrainst/m_mmlu/de", "test"): [MMLU_DE] * 3,
        ("alexandrainst/m_mmlu/de", "train"): [
            MMLU_DE | {"instruction": f"q{n}"} for n in range(9)
        ],
        ("alexandrainst/m_truthfulqa/de", "val"): [TRUTH] * 3,
    }
    for (dataset, split), lines in rows.items():
        write_data(dataset, split, lines)
    question = {"question": "a", "choices": ["a", "b", "c", "d"], "answer": 2}
    for subject in subjects():
        write_data(f"cais/mmlu/{subject}", "test", [question] * 2)
        shots = [question | {"question": f"{subject} {n}"} for n in range(5)]
        write_data(f"cais/mmlu/{subject}", "dev", shots)
    return tmp_path / "data"


def subjects() -> list[str]:
    files = (STOCK / "mmlu" / "default").glob("mmlu_*.yaml")
    return sorted(file.stem.removeprefix("mmlu_") for file in files)


@pytest.fixture
def reader_of(model_folder):
    """Return a function that gives a reader of a tiny model."""

    def made(seed: int = 1) -> Reader:
        model = open_model(model_folder("gpt_neox", seed))
        return Reader(
            model=model.model.eval(),
            tokenizer=model.tokenizer,
            context_length=CONTEXT,
            batch=32,
            precision=nullcontext,
        )

    return made


def test_the_papers_groups_have_its_tasks_and_shots(data):
    asked = load_tasks(["paper_en", "paper_de", "triviaqa_de"], data)
    assert [(each.name, each.kind, each.members[0].shots) for each in asked] == [
        ("hellaswag", "questions", 0),
        ("winogrande", "questions", 0),
        ("piqa", "questions", 0),
        ("openbookqa", "questions", 0),
        ("arc_easy", "questions", 0),
        ("arc_challenge", "questions", 0),
        ("boolq", "questions", 0),
        ("mathqa", "questions", 0),
        ("truthfulqa_mc1", "questions", 0),
        ("truthfulqa_mc2", "shares", 0),
        ("mmlu", "questions", 5),
        ("nq_open", "generate", 0),
        ("nq_open_5shot", "generate", 5),
        ("triviaqa", "generate", 5),
        ("hellaswag_de", "questions", 0),
        ("hellaswag_de_cased", "questions", 0),
        ("arc_de", "questions", 0),
        ("arc_de_brackets", "questions", 0),
        ("truthfulqa_de_mc1", "questions", 0),
        ("truthfulqa_de_mc2", "shares", 0),
        ("m_mmlu_de", "questions", 5),
        ("triviaqa_de", "generate", 5),
    ]
    (mmlu,) = (each for each in asked if each.name == "mmlu")
    assert {each.task_name for each in mmlu.members} == {f"mmlu_{each}" for each in subjects()}
    assert len(mmlu.members) == 57
    assert {each.shots for each in mmlu.members} == {5}


def prompt(task) -> tuple[str, list[str]]:
    task.set_fewshot_seed(1)
    task.build_all_requests(limit=1)
    first, *_ = task.instances
    return first.args[0], [each.args[1] for each in task.instances]


def test_german_variants_keep_case_and_brackets_where_the_stock_ones_do_not(data):
    names = ["hellaswag_de", "hellaswag_de_cased", "arc_de", "arc_de_brackets"]
    prompts = {each.name: prompt(each.members[0]) for each in load_tasks(names, data)}
    endings = [" geht ab", " b", " c", " d"]
    assert prompts["hellaswag_de"] == ("Bad: Wir baden. Dann die katze", endings)
    assert prompts["hellaswag_de_cased"] == ("Bad: Wir baden. Dann die Katze", endings)
    assert prompts["arc_de"][0] == "Question: Kraft ?\nAnswer:"
    assert prompts["arc_de_brackets"] == (
        "Question: Kraft [in N] ?\nAnswer:",
        [" a [m]", " b [m]", " c [m]", " d [m]"],
    )


def test_variants_ask_as_the_tasks_that_they_vary(data):
    names = ["nq_open_5shot", "triviaqa_de", "nq_open"]
    prompts = {each.name: prompt(each.members[0])[0] for each in load_tasks(names, data)}
    assert prompts["nq_open"] == "Answer these questions:\n\nQ: a?\nA:"
    head, *shots, last = prompts["nq_open_5shot"].split("\nQ: ")
    assert (head, len(shots), last) == ("Answer these questions:\n", 5, "a?\nA:")
    *shots, last = prompts["triviaqa_de"].split("\n\n")
    assert (len(shots), last) == (5, "Question: ä?\nAnswer:")
    assert set(shots) <= {f"Question: q{n}?\nAnswer: c" for n in range(9)}


def test_all_members_are_measured_and_two_models_compared(data, reader_of, tmp_path):
    asked = load_tasks(["paper_en", "paper_de", "triviaqa_de"], data)
    first, again, second = (
        ask(asked, reader_of(seed), lambda *_: None, limit=2) for seed in (1, 1, 2)
    )
    assert first == again  # shots are drawn alike each time
    records = {record.name: record for record, _ in first}
    assert {record.items for name, record in records.items() if name != "mmlu"} == {2}
    assert (records["mmlu"].items, len(records["mmlu"].harness.members)) == (114, 57)
    assert records["mmlu"].truncated == 114
    assert records["hellaswag"].metrics[0].metric == "acc_norm"
    assert records["arc_easy"].metrics[0].metric == "acc"
    assert records["truthfulqa_de_mc2"].metrics[0].metric == "right_share"
    assert 0 < records["truthfulqa_de_mc2"].metrics[0].value < 1
    assert records["hellaswag_de"].file == str(data / "alexandrainst/m_hellaswag/de")
    assert records["boolq"].harness.version == "2.0"
    winogrande = next(items for record, items in first if record.name == "winogrande")
    assert winogrande[0].answer == 1
    assert winogrande[0].characters == [len("was b.")] * 2
    sides = [Side(seeds=(results(each, tmp_path),)) for each in (first, second)]
    (compared,) = compare_sides(sides[0], sides[1:]).models
    assert [each.task for each in compared.tasks] == list(records)
    by_name = {each.task: each for each in compared.tasks}
    assert by_name["hellaswag"].differences[0].difference.metric == "acc_norm"


def results(measured, folder) -> Results:
    """Return what was measured as `compare_results` wants it."""
    from rewarm.evaluation.results import EvaluationRecord, ModelRecord

    model = ModelRecord(
        name="m", place="", family="", parameters=1, weights={}, tokenizer="", end_of_text=""
    )
    record = EvaluationRecord(
        model=model,
        tasks=[record for record, _ in measured],
        context_length=CONTEXT,
        batch=32,
        precision="fp32",
        device="cpu",
        answer_tokens=32,
        prompt_tokens=40,
        versions={},
        items_sha256="",
    )
    return Results(folder=folder, record=record, items=[i for _, own in measured for i in own])


def test_what_is_missing_is_said(data, write_data, reader_of):
    (data / "baber/piqa/validation.jsonl").unlink()
    with pytest.raises(DataError, match=r"baber/piqa: has no validation.jsonl"):
        load_tasks(["piqa"], data)
    with pytest.raises(CampaignError, match=r"no task, group or tag .* near it are .*hellaswag"):
        load_tasks(["hellaswagg"], data)
    with pytest.raises(CampaignError, match="given twice"):
        load_tasks(["piqa", "piqa"], data)
    with pytest.raises(DataError, match="its data are on no hub"):
        load_tasks(["triviaqa_de"], None)
    write_data("baber/piqa", "validation", [{"goal": "a", "sol1": "b"}])
    with pytest.raises(DataError, match=r"piqa: the harness cannot load this \(ValueError"):
        load_tasks(["piqa"], data)
    write_data("baber/piqa", "validation", [{"goal": "a"}, {"gaol": "b"}])
    with pytest.raises(DataError, match=r"validation.jsonl:2: has the keys \['gaol'\]"):
        load_tasks(["piqa"], data)
    write_data("baber/piqa", "validation", [{"goal": "a"}, {"goal": 1}])
    with pytest.raises(DataError, match="values of different types"):
        load_tasks(["piqa"], data)
    write_data("baber/piqa", "validation", [])
    with pytest.raises(DataError, match="has no rows"):
        load_tasks(["piqa"], data)
    write_data("triviaqa_de", "train", [{"question": "q", "answers": ["c"]}])
    with pytest.raises(DataError, match="as many must be there as it takes for shots"):
        ask(load_tasks(["triviaqa_de"], data), reader_of(), lambda *_: None, limit=1)
    row = ARC | {"answerKey": "A"}
    write_data("allenai/ai2_arc/ARC-Easy", "test", [row, row | {"answerKey": "C"}])
    with pytest.raises(DataError, match="cannot ask these tasks"):
        ask(load_tasks(["arc_easy"], data), reader_of(), lambda *_: None, limit=None)


def test_data_changed_in_place_are_read_anew(data, write_data):
    """There is no cache that could give the rows of before."""
    (before,) = load_tasks(["piqa"], data)
    write_data("baber/piqa", "validation", [{"goal": "z", "sol1": "b", "sol2": "c", "label": 1}])
    (after,) = load_tasks(["piqa"], data)
    assert prompt(before.members[0])[0] == "Question: a\nAnswer:"
    assert prompt(after.members[0])[0] == "Question: z\nAnswer:"


def test_tasks_that_do_not_fit_are_refused(data, reader_of):
    (asked,) = load_tasks(["nq_open"], data)
    (short,) = (each for each in load_tasks(["paper_en"], data) if each.name == "nq_open")
    with pytest.raises(CampaignError, match="writes up to 256 tokens and the model reads 48"):
        ask([asked], reader_of(), lambda *_: None, limit=1)
    assert ask([short], reader_of(), lambda *_: None, limit=1)
    short.members[0].config.generation_kwargs["do_sample"] = True
    with pytest.raises(CampaignError, match="only the likeliest token"):
        ask([short], reader_of(), lambda *_: None, limit=1)
