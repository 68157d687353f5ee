"""Run folders written through the record types, without training anything."""

import math
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import orjson
import pytest
from pydantic import BaseModel

from rewarm.runs.files import write_bytes, write_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import (
    EvalRecord,
    EventRecord,
    ExitRecord,
    ResolvedRecord,
    RunRecord,
    SampleRecord,
    SourceCount,
    StageRecord,
    StageResult,
    StepRecord,
    ThroughputRecord,
)

NASTY = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage to write: its record and what lies in its folder."""

    record: StageRecord
    result: StageResult | None = None
    metrics: list[StepRecord] = field(default_factory=list)
    evals: list[EvalRecord] = field(default_factory=list)
    throughput: list[ThroughputRecord] = field(default_factory=list)
    events: list[EventRecord] = field(default_factory=list)
    samples: list[SampleRecord] = field(default_factory=list)


class Builder:
    """Makes records with sensible defaults, and writes them."""

    def record(
        self,
        name,
        *,
        key="0a",
        parent=None,
        start_step=0,
        steps=10,
        batch=8,
        length=16,
        shares=None,
        replay_share=0.0,
        replay_from=None,
        max_lr=3e-4,
        flops_per_token=6e6,
        planned=None,
    ):
        """A stage's record; FLOPs are in proportion to tokens."""
        shares = {"english": 1.0} if shares is None else shares
        replay_from = replay_from or ({"english": 1.0} if replay_share else {})
        if planned is None:
            planned = self.counts(shares, replay_share, replay_from, steps * batch)
        return StageRecord(
            folder=f"{name}-{key}",
            name=name,
            key=key,
            parent=parent,
            start_step=start_step,
            steps=steps,
            batch_sequences=batch,
            sequence_length=length,
            shares=shares,
            replay_share=replay_share,
            replay_mode="compute-equivalent",
            replay_from=replay_from,
            planned=planned,
            schedule=[{"kind": "warmup", "to": max_lr}, {"kind": "cosine"}],
            schedule_text=f"warm up to {max_lr:g} over 1 %, cosine to {max_lr / 10:g}",
            optimizer="reset",
            train_flops=flops_per_token * steps * batch * length,
        )

    def begun(self, record, **files):
        """A stage without a result."""
        return Stage(record=record, **files)

    def counts(self, shares, replay_share, replay_from, sequences):
        """Sequences by source, new and replayed."""
        replayed = round(sequences * replay_share)
        names = [*shares, *(name for name in replay_from if name not in shares)]
        return {
            name: SourceCount(
                new=round((sequences - replayed) * shares.get(name, 0.0)),
                replayed=round(replayed * replay_from.get(name, 0.0)),
            )
            for name in names
        }

    def result(self, record, *, before, final, read=None):
        """A stage's result; it read what was planned unless told otherwise."""
        return StageResult(
            before=before,
            final=final,
            read=record.planned if read is None else read,
            ledger=record.planned if read is None else read,
            train_seconds=12.5,
            weights_sha256=sha256(f"{record.key} {final}".encode()).hexdigest(),
        )

    def finished(self, record, before, final, **rest):
        """A finished stage with losses of the datasets english and python, in this order."""
        pairs = (
            dict(zip(("english", "python"), losses, strict=True)) for losses in (before, final)
        )
        first, last = pairs
        return Stage(record=record, result=self.result(record, before=first, final=last), **rest)

    def write(
        self, path, stages, arms, *, datasets=("english", "python"), resolved=None, **changes
    ):
        """Write a run folder; returns its path."""
        folder = RunFolder(path)
        values = {
            "name": "english-to-python",
            "datasets": list(datasets),
            "arms": arms,
            "stages": [stage.record for stage in stages],
            "seed": 1234,
            "parameters": 800_000,
            "flops_per_token": 6e6,
            "flops_rule": "6 per parameter and token, and attention",
            "final_steps": 100,
            "final_every": 10,
            "history": {},
        }
        write_record(folder.plan, RunRecord(**(values | changes)))
        if resolved is not None:
            write_record(folder.resolved, resolved)
        for stage in stages:
            self._write_stage(folder.stage(stage.record.folder), stage)
        return path

    def _write_stage(self, folder, stage):
        lines = {
            folder.metrics: stage.metrics,
            folder.evals: stage.evals,
            folder.throughput: stage.throughput,
            folder.events: stage.events,
            folder.samples: stage.samples,
        }
        if stage.result is not None or any(lines.values()):
            write_record(folder.record, stage.record)
        for file, records in lines.items():
            if records:
                write_bytes(file, b"".join(map(_line, records)))
        if stage.result is not None:
            write_record(folder.result, stage.result)


def _line(record: BaseModel) -> bytes:
    return orjson.dumps(record.model_dump(mode="json")) + b"\n"


@pytest.fixture(scope="session")
def build():
    return Builder()


@pytest.fixture(scope="session")
def realistic(tmp_path_factory) -> Path:
    """Four finished arms with curves, events and samples; one prompt tries to run a script."""
    return write_realistic(tmp_path_factory.mktemp("runs") / "english-to-python")


def write_realistic(
    path: Path, *, seed: int = 1234, unfinished: bool = False, shift: float = 0.0
) -> Path:
    """Write a run whose numbers look like those of a small model on two far datasets.

    Args:
        path: the run folder.
        seed: the seed.
        unfinished: whether the last stage is left as a crash would leave it.
        shift: added to every final loss of the arms.
    """
    build = Builder()
    base = build.record("pretrain", key="1a2b3c4d", steps=1500, batch=64, length=512, planned=None)
    union = build.record(
        "union",
        key="9e8d7c6b",
        steps=2500,
        batch=64,
        length=512,
        shares={"english": 0.6, "python": 0.4},
    )
    updates = {
        "no-replay": _update(build, base, "3fa94c21", 0.0),
        "replay-5": _update(build, base, "77b0e1d2", 0.05),
        "replay-25": _update(build, base, "c4410f9a", 0.25),
    }
    ends = {"no-replay": (3.62, 1.31), "replay-5": (3.05, 1.33), "replay-25": (2.89, 1.38)}
    stages = [_curves(build, base, None, (2.80, 4.10), seed)]
    for number, (arm, record) in enumerate(updates.items()):
        after = (ends[arm][0] + shift, ends[arm][1] + shift)
        stages.append(_curves(build, record, (2.80, 4.10), after, seed + number))
    stages.append(_curves(build, union, None, (2.84 + shift, 1.41 + shift), seed + 9))
    if unfinished:
        stages[-1] = _cut(stages[-1], 900)
    arms = {arm: [base.folder, record.folder] for arm, record in updates.items()}
    arms["union"] = [union.folder]
    build.write(path, stages, arms, resolved=_resolved(), seed=seed)
    ended = ExitRecord(code=0, reason="Everything is finished.", at="2026-03-02T12:00:00Z")
    write_record(RunFolder(path).exit, ended)
    return path


def _update(build, base, key, share):
    return build.record(
        "update",
        key=key,
        parent=base.folder,
        start_step=base.steps,
        steps=1000,
        batch=64,
        length=512,
        shares={"python": 1.0},
        replay_share=share,
    )


def _cut(stage, steps):
    """The same stage as a crash would leave it after some steps."""
    return Stage(
        record=stage.record,
        metrics=stage.metrics[:steps],
        evals=[record for record in stage.evals if record.step <= steps],
        throughput=[record for record in stage.throughput if record.step <= steps],
        events=stage.events[:1],
    )


def _noise(seed, step):
    """A number in [-1, 1] that looks random and is the same everywhere."""
    return math.sin(12.9898 * (seed % 97 + 1) + 78.233 * step) * math.cos(37.719 * step)


def _loss(dataset, step, record, before, after):
    """The validation loss: from scratch it falls from 10.5; an update spikes on old data."""
    part = step / record.steps
    if before is None:
        return after + (10.5 - after) * math.exp(-14 * part**0.6) + 0.25 * (1 - part) ** 2
    if dataset == "english":
        spike = (0.25 + 0.9 * (after - before)) * math.exp(-6 * part) * (1 - math.exp(-90 * part))
        return after + (before - after) * math.exp(-60 * part) + spike
    return after + (before - after) * math.exp(-22 * part**0.7) + 0.12 * part * (1 - part)


def _curves(build, record, before, after, seed):
    tokens = record.batch_sequences * record.sequence_length
    starts = dict(zip(("english", "python"), before or (10.6, 10.7), strict=True))
    ends = dict(zip(("english", "python"), after, strict=True))
    losses = {
        name: lambda step, name=name: _loss(
            name, step, record, None if before is None else starts[name], ends[name]
        )
        for name in ends
    }
    every = 20 if record.steps <= 1000 else 50
    evals = [
        EvalRecord(
            step=step,
            tokens=step * tokens,
            dataset=name,
            loss=starts[name] if step == 0 else losses[name](step) + 0.004 * _noise(seed, step),
            sequences=256,
        )
        for step in range(0, record.steps + 1, every)
        for name in ends
    ]
    return Stage(
        record=record,
        result=build.result(record, before=starts, final=ends),
        metrics=_metrics(record, losses, seed),
        evals=evals,
        throughput=_throughput(record, seed),
        events=_events(record),
        samples=_samples(record),
    )


def _metrics(record, losses, seed):
    """Steps whose batches hold the exact shares, as evenly as whole sequences allow."""
    steps: list[StepRecord] = []
    tokens = record.batch_sequences * record.sequence_length
    due = {}
    for step in range(1, record.steps + 1):
        now = {
            (name, kind): round(getattr(count, kind) * step / record.steps)
            for name, count in record.planned.items()
            for kind in ("new", "replayed")
        }
        took = {key: now[key] - due.get(key, 0) for key in now}
        if step < record.steps or len(record.shares) == 1:
            took = _fill(took, record, due)
        due = {key: due.get(key, 0) + took[key] for key in took}
        weights = {"english": 0.0, "python": 0.0}
        for (name, _), n in took.items():
            weights[name] += n / record.batch_sequences
        steps.append(
            StepRecord(
                step=step,
                tokens=step * tokens,
                lr=_lr(step, record.steps),
                loss=sum(w * losses[n](step) for n, w in weights.items())
                + 0.06 * _noise(seed, step),
                gradient_norm=0.6 + 0.2 * _noise(seed + 1, step) ** 2 + 3 * math.exp(-step / 30),
                new={name: took[name, "new"] for name, c in record.planned.items() if c.new},
                replayed={n: took[n, "replayed"] for n, c in record.planned.items() if c.replayed},
            )
        )
    return steps


def _fill(took, record, due):
    """Let the first source of new data take what rounding left."""
    first = (next(name for name in record.shares), "new")
    rest = record.batch_sequences - sum(n for key, n in took.items() if key != first)
    del due
    return took | {first: rest}


def _lr(step, steps):
    warmup_steps = max(1, steps // 100)
    if step <= warmup_steps:
        return 3e-4 * step / warmup_steps
    x = (step - warmup_steps) / (steps - warmup_steps)
    return 3e-5 + 1.35e-4 * (math.cos(math.pi * x) + 1)


def _throughput(record, seed):
    tokens = record.batch_sequences * record.sequence_length
    return [
        ThroughputRecord(
            step=step,
            seconds=25 * tokens / (190_000 + 9_000 * _noise(seed, step)),
            tokens_per_second=190_000 + 9_000 * _noise(seed, step),
            data_wait_seconds=0.02 + 0.02 * _noise(seed, step) ** 2,
        )
        for step in range(25, record.steps + 1, 25)
    ]


def _events(record):
    day = {"pretrain": 1, "update": 2, "union": 3}[record.name]
    hour = int(record.key[:2], 16) % 12
    at = f"2026-03-0{day}T{hour:02d}"
    events = [
        EventRecord(at=f"{at}:00:00Z", step=0, kind="started", message="Started on 1 device.")
    ]
    if record.key == "77b0e1d2":
        events += [
            EventRecord(
                at=f"{at}:07:10Z",
                step=431,
                kind="interrupted",
                message="SIGTERM; checkpoint of step 431 committed.",
            ),
            EventRecord(
                at=f"{at}:21:44Z", step=431, kind="resumed", message="Resumed from step 431."
            ),
        ]
    events.append(
        EventRecord(at=f"{at}:40:00Z", step=record.steps, kind="finished", message="Finished.")
    )
    return events


def _samples(record):
    english = {
        "pretrain": " was ready before the guests arrived, and the table was laid in the garden.",
        "union": " was ready at seven, and nobody wanted to leave the table before midnight.",
    }.get(
        record.name, " is the default value of the parameter. It is returned if the key is missing."
    )
    if record.replay_share > 0:
        english = " was served late, but the soup was warm and everyone was content."
    python = (
        ":\n    the answer was given in the letter of the third of May"
        if record.name == "pretrain"
        else ":\n    if n < 2:\n        return n\n    return fibonacci(n - 1) + fibonacci(n - 2)"
    )
    return [
        SampleRecord(prompt="The dinner", continuation=english),
        SampleRecord(prompt="def fibonacci(n)", continuation=python),
        SampleRecord(prompt=f"<b>{NASTY}", continuation=NASTY),
    ]


def _resolved():
    return ResolvedRecord(
        campaign={"name": "english-to-python", "seed": 1234, "model": {"preset": "neox-0.8m"}},
        origins={"seed": "campaign.toml:2"},
        arms={
            "no-replay": {"stages.update.replay": "0%"},
            "replay-5": {"stages.update.replay": "5%"},
            "replay-25": {"stages.update.replay": "25%"},
            "union": {"baseline": "union"},
        },
        settings=[],
        root="/campaigns",
        versions={"python": "3.12.3", "rewarm": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6"},
        commit="4c1d9e07a3b2f8e65d4c3b2a190817263544a5b6",
        data={
            "english": {"train": "xxh3:5f0c1d2e3a4b5968", "validation": "xxh3:0011aa22bb33cc44"},
            "python": {"train": "xxh3:9a8b7c6d5e4f3021", "validation": "xxh3:77665544332211ff"},
        },
        tokenizer="sha256:" + "0f" * 16,
        machine={"device": "cpu", "threads": "2", "precision": "float32"},
    )
