"""A campaign file to change in one place at a time, and to load."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from rewarm.campaign import LoadedCampaign, load_campaign
from rewarm.errors import CampaignError

CAMPAIGN = """\
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

[[stage]]  # first
name = "pretrain"
data = { english = 1.0 }
budget = "200 steps"
schedule = { kind = "cosine", max_lr = 1e-3 }

[[stage]]  # second
name = "update"
data = { german = 1.0 }
replay = "10%"
budget = "100 steps"
schedule = { kind = "cosine", max_lr = 1e-3, min_lr = 1e-5 }
"""

Change = tuple[str, str]


@dataclass(frozen=True)
class Files:
    """Writes and loads campaign files in a folder."""

    folder: Path

    def write(self, *changes: Change, more: str = "") -> Path:
        """Write the campaign with some text replaced (once each), and more at its end."""
        text = CAMPAIGN
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path = self.folder / "campaign.toml"
        path.write_text(text + more, encoding="utf-8")
        return path

    def load(
        self, *changes: Change, more: str = "", settings: Sequence[str] = ()
    ) -> LoadedCampaign:
        return load_campaign(self.write(*changes, more=more), settings)

    def mistakes(self, *changes: Change, more: str = "", settings: Sequence[str] = ()) -> list[str]:
        """Load what must be refused; the lines of the message, the file by its name alone."""
        with pytest.raises(CampaignError) as refused:
            self.load(*changes, more=more, settings=settings)
        return str(refused.value).replace(f"{self.folder}/", "").splitlines()

    def line_of(self, text: str) -> int:
        """The line of the file as last written that holds a text."""
        lines = (self.folder / "campaign.toml").read_text(encoding="utf-8").splitlines()
        (number,) = [n for n, line in enumerate(lines, start=1) if text in line]
        return number


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)
