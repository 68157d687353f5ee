"""Texts of the harness's German tasks, without what its English preparation does to them.

`hellaswag_de` puts the second half of a context through `str.capitalize`, which turns all its nouns to lower
case: "dann die Katze" becomes "Dann die katze". `arc_de` takes out whatever stands in square brackets, as
HellaSwag needs it for the headings of WikiHow; in questions brackets are text, such as the unit of a formula.
"""

from collections.abc import Mapping
from typing import Any

import datasets
from lm_eval.tasks.okapi.hellaswag_multilingual.utils import (  # pyright: ignore[reportMissingImports]  # an extra
    preprocess,
)

_LETTERS = "ABCDE"


def hellaswag(rows: datasets.Dataset) -> datasets.Dataset:
    """Return what `hellaswag_de` asks, with the case that the words have: `query`, `choices`, `label`."""
    return rows.map(_hellaswag)


def arc(rows: datasets.Dataset) -> datasets.Dataset:
    """Return what `arc_de` asks, with what stands in brackets: `query`, `choices`, `gold`."""
    return rows.map(_arc)


def _hellaswag(row: Mapping[str, Any]) -> dict[str, Any]:
    second = row["ctx_b"]
    context = f"{row['activity_label']}: {row['ctx_a']} {second[:1].upper()}{second[1:]}"
    return {"query": preprocess(context), "choices": [preprocess(each) for each in row["endings"]]}


def _arc(row: Mapping[str, Any]) -> dict[str, Any]:
    options = [row[f"option_{letter.lower()}"] for letter in _LETTERS]
    return {
        "query": f"Question: {row['instruction'].strip()}\nAnswer:",
        "choices": [option.strip() for option in options if option],
        "gold": _LETTERS.index(row["answer"]),
    }
