"""Small campaigns to plan: 8 tokens in a sequence, 10 sequences in a batch, so 80 tokens in a step."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from rewarm.campaign import load_campaign
from rewarm.errors import CampaignError
from rewarm.plan import Plan, StagePlan, make_plan

HEAD = """\
name = "small"
seed = 1
sequence_length = 8
batch = "10 sequences"

[model]
preset = "neox-0.1m"
vocabulary = 300

[tokenizer]
from = "tokenizer.json"

[data.english]
train = ["english.jsonl"]
validation = ["english.valid.jsonl"]

[data.german]
train = ["german.jsonl"]
validation = ["german.valid.jsonl"]

[data.french]
validation = ["french.valid.jsonl"]
[data.french.domains.web]
train = ["web.jsonl"]
weight = 3
[data.french.domains.law]
train = ["law.jsonl"]
weight = 1

[evaluation]
every = "10 steps"
final_steps = 0

[checkpoints]
every = "10 steps"

"""

PRETRAIN = """\
[[stage]]
name = "pretrain"
data = { english = 1.0 }
budget = "40 steps"
schedule = { kind = "cosine", max_lr = 1e-3 }
"""

UPDATE = """\
[[stage]]
name = "update"
data = { german = 1.0 }
replay = "10%"
budget = "40 steps"
schedule = { kind = "cosine", max_lr = 1e-3 }
"""

THIRD = """\
[[stage]]
name = "third"
data = { french = 1.0 }
replay = "10%"
budget = "40 steps"
schedule = { kind = "cosine", max_lr = 1e-3 }
"""

Change = tuple[str, str]


@dataclass(frozen=True)
class Planner:
    """Plans campaigns written from pieces."""

    folder: Path

    def __call__(self, stages: str = PRETRAIN + UPDATE, *changes: Change, more: str = "") -> Plan:
        """Plan these stages, with some text of the file replaced (once each), and more at its end."""
        text = HEAD + stages
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path = self.folder / "campaign.toml"
        path.write_text(text + more, encoding="utf-8")
        return make_plan(load_campaign(path))

    def stage(self, stages: str, *changes: Change) -> StagePlan:
        """Plan stages without arms; the last of them."""
        return self(stages, *changes).stages[-1]

    def refusal(self, stages: str, *changes: Change) -> str:
        """Plan what must be refused; what is said, the file by its name alone."""
        with pytest.raises(CampaignError) as refused:
            self(stages, *changes)
        return str(refused.value).replace(f"{self.folder}/", "")


@pytest.fixture
def planned(tmp_path):
    return Planner(tmp_path)


@pytest.fixture
def pieces():
    """The pieces that campaigns are written from."""
    return {"pretrain": PRETRAIN, "update": UPDATE, "third": THIRD, "both": PRETRAIN + UPDATE}
