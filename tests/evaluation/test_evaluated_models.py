"""Which model is opened: a folder's own tokenizer, end of text and context, or what is asked for."""

import json
import shutil

import pytest

from rewarm.errors import CampaignError, CheckpointError, DataError
from rewarm.evaluation.model import open_model


@pytest.fixture
def folder(model_folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(model_folder("gpt_neox"), copy)
    return copy


def change(folder, name: str, **settings: object) -> None:
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(content | settings))


def test_a_folder_says_everything(folder):
    found = open_model(folder)
    assert (found.name, found.context_length) == ("model", 48)
    assert found.tokenizer.end_of_text_token == "<|endoftext|>"
    assert open_model(folder, context_length=16).context_length == 16


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"context_length": 49}, CampaignError, "reads at most 48 tokens at once"),
        ({"end_of_text": "<eos>"}, DataError, "has no token '<eos>'"),
    ],
)
def test_what_a_model_cannot_do_is_refused(folder, asked, error, message):
    with pytest.raises(error, match=message):
        open_model(folder, **asked)


@pytest.mark.parametrize("end", [[0, 1], None, 271])
def test_an_end_of_text_is_not_guessed(folder, end):
    change(folder, "config.json", eos_token_id=end)
    with pytest.raises(CheckpointError, match="Name it with --end-of-text"):
        open_model(folder)
    assert open_model(folder, end_of_text="<|endoftext|>").tokenizer.end_of_text == 0


def test_a_tokenizer_that_is_not_the_models_is_refused(folder):
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"] |= {f"<{n}>": n for n in range(261, 300)}
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="300 entries, the model's embedding only 272"):
        open_model(folder)
    path.write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer.json: is not there or is no"):
        open_model(folder)
