"""Evaluations of simulated models: each recipe with its own level, each seed off by chance, each item too."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tests.evaluation.written import evaluation

from rewarm.evaluation.items import DocumentItem, Item, QuestionItem
from rewarm.evaluation.results import Results
from rewarm.evaluation.sides import Side

NUM_ITEMS = 40
LENGTHS = np.random.default_rng(0).integers(200, 2000, NUM_ITEMS)
"""Bytes of the documents."""
HARD = np.random.default_rng(1).normal(1.5, 0.3, NUM_ITEMS)
"""Bits per byte of the documents, alike for all models."""
EASY = np.random.default_rng(2).normal(0.0, 1.0, NUM_ITEMS)
"""By how many nats the right choice is ahead, alike for all models."""


def documents(draw: np.random.Generator, level: float, task: str = "texts") -> list[Item]:
    """Return documents that a model of this level (bits per byte above the others) has read."""
    bits = (HARD + level + draw.normal(0, 0.01, NUM_ITEMS)) * LENGTHS
    return [
        DocumentItem(
            task=task,
            id=str(number),
            domain=None,
            nats=float(each) * math.log(2),
            bytes=int(length),
            tokens=1,
        )
        for number, (each, length) in enumerate(zip(bits, LENGTHS, strict=True))
    ]


def questions(draw: np.random.Generator, level: float, task: str = "quiz") -> list[Item]:
    """Return questions that a model of this level (nats by which it is better) has answered."""
    ahead = EASY + level + draw.normal(0, 0.1, NUM_ITEMS)
    return [
        QuestionItem(
            task=task,
            id=str(number),
            answer=0,
            nats=[1.0, 1.0 + float(each)],
            greedy=[False, False],
            characters=[1, 1],
            bytes=[1, 1],
            truncated=False,
        )
        for number, each in enumerate(ahead)
    ]


def results(name: str, tasks: Sequence[Sequence[Item]], *, folder: Path = Path()) -> Results:
    """Return the evaluation of a model with weights of its own."""
    record, _ = evaluation(name, tasks, weights={"model.safetensors": name}, data_sha256="")
    return Results(folder=folder / name, record=record, items=[i for own in tasks for i in own])


TASKS = {"documents": (documents, 0.01), "questions": (questions, 0.4)}
"""How a task's items are made, and the standard deviation of a seed's level."""


def recipe(
    draw: np.random.Generator,
    seeds: int,
    *,
    kinds: Sequence[str] = ("documents", "questions"),
    level: float = 0.0,
    name: str = "",
) -> Side:
    """Return the evaluations of a recipe's seeds.

    Args:
        draw: random numbers.
        seeds: how many trainings.
        kinds: of the tasks.
        level: of the recipe, in standard deviations of a seed.
        name: of the models, before the number of the seed.
    """
    found: list[Results] = []
    for seed in range(seeds):
        made = [TASKS[kind] for kind in kinds]
        tasks = [items(draw, spread * (level + draw.normal())) for items, spread in made]
        found.append(results(f"{name}{seed}", tasks))
    return Side(seeds=tuple(found))
