# pydantic's field types are introspected here.
# pyright: basic
"""The reference page of the campaign file, made from the models and their field docstrings.

`make docs` writes it; a test compares it.
"""

import ast
import inspect
import sys
import textwrap
from types import ModuleType
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from rewarm.campaign import campaign, datasets, gate, schedule, settings
from rewarm.campaign.presets import PRESETS

_TABLES = (
    (campaign.Campaign, "At the top of the file", ""),
    (campaign.Model, "[model]", ""),
    (campaign.Tokenizer, "[tokenizer]", ""),
    (campaign.TrainTokenizer, "tokenizer.train", ""),
    (datasets.Dataset, "[data.NAME]", ""),
    (datasets.Domain, "[data.NAME.domains.DOMAIN]", ""),
    (datasets.HuggingFace, "hugging_face", ""),
    (datasets.HeldOut, "data.NAME.validation, as a table", ""),
    (datasets.IndexMaps, "index_maps", ""),
    (campaign.History, "[history.NAME]", ""),
    (settings.Optimizer, "[optimizer]", ""),
    (settings.Training, "[training]", ""),
    (settings.Parallel, "[parallel]", ""),
    (settings.Evaluation, "[evaluation]", ""),
    (settings.Checkpoints, "[checkpoints]", ""),
    (gate.Gate, "[gate]", ""),
    (gate.TaskLimit, "[[gate.task]]", ""),
    (campaign.Stage, "[[stage]]", ""),
    (campaign.Replay, "stage.replay", "A share alone is short for `{ share = … }`."),
)


def reference() -> str:
    """Return the page as Markdown."""
    parts = [
        "# The campaign file\n",
        "Written by `make docs` from `src/rewarm/campaign`. The file is TOML. Lengths and budgets carry their",
        'unit: `"1%"`, `"2000 steps"`, `"2B tokens"`, `"64 sequences"`. Percentages are of the stage. A',
        "length or budget is rounded down to whole steps. Nothing else is adjusted: what cannot be done is",
        "refused.\n",
    ]
    for model, title, note in _TABLES:
        parts += _section(model, title, note)
    parts.append("## stage.schedule\n")
    parts.append("`kind` picks one of these.\n")
    union = get_args(schedule.Schedule)[0]
    for model in get_args(union):
        kind = get_args(model.model_fields["kind"].annotation)[0]
        parts += _section(model, f'kind = "{kind}"', "", level="###")
    parts += [
        "## [arms]\n",
        "Variants to compare. Each is a table of changes, by the paths that `--set` takes, and perhaps a",
        "baseline made from the campaign: `union`, `scratch`, `no-replay`, `no-rewarming`.\n",
        "```toml",
        "[arms]",
        'replay-5 = { "stages.update.replay" = "5%" }',
        'union = { baseline = "union" }',
        "```\n",
        "## Presets\n",
        "| name | layers | width | heads | parameters at vocabulary 50,304 |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {name} | {p.layers} | {p.width} | {p.heads} | {p.num_parameters(50_304):,} |"
            for name, p in PRESETS.items()
        ),
    ]
    return "\n".join(parts) + "\n"


def _section(model: type[BaseModel], title: str, note: str, level: str = "##") -> list[str]:
    lines = [f"{level} {title}\n", f"{inspect.cleandoc(model.__doc__ or '')}\n"]
    if note:
        lines.append(f"{note}\n")
    lines += ["| key | default | meaning |", "| --- | --- | --- |"]
    meanings = _field_docs(model)
    for name, field in model.model_fields.items():
        if name == "kind":
            continue
        lines.append(f"| `{field.alias or name}` | {_default(field)} | {meanings[name]} |")
    return [*lines, ""]


def _default(field: Any) -> str:  # noqa: ANN401  (pydantic's FieldInfo)
    if field.is_required():
        return "required"
    value = field.default
    if (
        value is None
        or value is PydanticUndefined
        or isinstance(value, BaseModel)
        or value in ([], {})
    ):
        return "-"
    return f"`{value}`".replace("|", r"\|")


def _field_docs(model: type[BaseModel]) -> dict[str, str]:
    """Return the sentence beneath each field, of the class and of those it is based on."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        module = sys.modules.get(kind.__module__)
        if not (isinstance(module, ModuleType) and kind.__module__.startswith("rewarm.")):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        assert isinstance(tree, ast.ClassDef), "a model is a class"
        for field, text in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                value = ast.literal_eval(text.value)
                found[ast.unparse(field.target)] = " ".join(str(value).split())
    return found


if __name__ == "__main__":
    sys.stdout.write(reference())
