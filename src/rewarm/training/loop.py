"""The loop of one stage, top to bottom: batch, step, record, evaluate, save, stop if asked, finish."""

import time
from contextlib import closing

from rewarm.data.batches import Batch
from rewarm.engine.manifest import verify
from rewarm.engine.world import autocast
from rewarm.evaluation.continuations import continuation
from rewarm.evaluation.validation import validation_loss, validation_sequences
from rewarm.plan import StagePlan
from rewarm.plan.record import source_counts, stage_record
from rewarm.runs.files import append_record, read_records, write_record
from rewarm.runs.records import (
    EvalRecord,
    SampleRecord,
    StageResult,
    StepRecord,
    ThroughputRecord,
)
from rewarm.training.job import Job
from rewarm.training.records import record_event
from rewarm.training.state import TrainState, begin_stage, resume_stage, save_state
from rewarm.training.step import StepResult, StepSettings, train_step


def train_stage(job: Job, stage: StagePlan) -> None:
    """Train a stage to its end, from where it stands.

    Raises:
        InterruptedRunError: a signal asked to stop; the state was saved.
        NumericsError: a loss that is not finite.
        StorageError: the disk is full.
    """
    campaign = stage.campaign
    folder = job.folder(stage)
    evaluation_steps = set(job.plan.evaluation_steps(stage))
    checkpoint_steps = set(job.plan.checkpoint_steps(stage))

    write_record(folder.record, stage_record(job.plan, stage))
    state = resume_stage(job, stage)
    if state is None:
        state = begin_stage(job, stage)
        evaluate(job, stage, state)
    settings = StepSettings(
        micro_batch=campaign.micro_batch_sequences,
        clip_norm=campaign.optimizer.clip_norm,
        precision=campaign.training.precision,
        world=job.world,
    )
    speed = _Speed(state.step)
    with (
        closing(job.batches(stage).prefetched(state.step + 1, stage.steps)) as batches,
        job.reporter.stage(stage, done=state.step),
    ):
        while state.step < stage.steps:
            began = time.monotonic()
            batch = next(batches)
            waited = time.monotonic() - began
            lr = stage.schedule(batch.step)
            result = train_step(state.model, state.optimizer, batch, lr, settings)
            state.advance(batch)
            speed.add(time.monotonic() - began, waited)
            append_record(folder.metrics, _step_record(stage, batch, lr, result))
            if state.step in evaluation_steps:
                evaluate(job, stage, state)
            stop = job.stop.signal
            if state.step in checkpoint_steps or stop is not None:
                append_record(folder.throughput, speed.record(state.step, stage.batch_tokens))
                save_state(job, stage, state)
            job.reporter.step(batch.step, result.loss, lr, time.monotonic() - began)
            if stop is not None:
                record_event(folder, state.step, "interrupted", f"stopped by {stop.name}")
                raise job.stop.interruption(f"step {state.step:,} of {stage.folder} is saved")
    finish(job, stage, state)


def _step_record(stage: StagePlan, batch: Batch, lr: float, result: StepResult) -> StepRecord:
    return StepRecord(
        step=batch.step,
        tokens=batch.step * stage.batch_tokens,
        lr=lr,
        loss=result.loss,
        gradient_norm=result.gradient_norm,
        new=batch.new,
        replayed=batch.replayed,
    )


def evaluate(job: Job, stage: StagePlan, state: TrainState) -> None:
    """Measure and record the validation loss on every dataset."""
    campaign = stage.campaign
    for dataset in job.plan.datasets:
        store = job.data.validation[dataset]
        sequences = validation_sequences(
            store, dataset, stage.sequence_length, campaign.evaluation.sequences
        )
        wanted = campaign.evaluation.sequences
        if state.step == 0 and sequences < wanted:
            message = f"{dataset} has {sequences:,} validation sequences, fewer than the {wanted:,} asked for"
            record_event(job.folder(stage), 0, "warning", message)
            job.reporter.say(f"note: {message}; all of them are read")
        with autocast(job.world, stage.campaign.training.precision):
            loss = validation_loss(
                state.model,
                store,
                sequences=sequences,
                sequence_length=stage.sequence_length,
                micro_batch=campaign.micro_batch_sequences,
                device=job.world.device,
            )
        record = EvalRecord(
            step=state.step,
            tokens=state.step * stage.batch_tokens,
            dataset=dataset,
            loss=loss,
            sequences=sequences,
        )
        append_record(job.folder(stage).evals, record)


def finish(job: Job, stage: StagePlan, state: TrainState) -> None:
    """Write the samples and the result; with the result there, the stage is finished."""
    folder = job.folder(stage)
    evaluation = job.plan.campaign.evaluation
    folder.samples.unlink(missing_ok=True)
    for prompt in evaluation.prompts:
        with autocast(job.world, stage.campaign.training.precision):
            text = continuation(
                state.model,
                job.data.tokenizer,
                prompt,
                num_tokens=evaluation.prompt_tokens,
                sequence_length=stage.sequence_length,
                device=job.world.device,
            )
        append_record(folder.samples, SampleRecord(prompt=prompt, continuation=text))
    record_event(folder, state.step, "finished", f"finished after {state.step:,} steps")
    write_record(folder.result, _result(job, stage, state))


def _result(job: Job, stage: StagePlan, state: TrainState) -> StageResult:
    folder = job.folder(stage)
    evaluation = job.plan.campaign.evaluation
    window = set(range(stage.steps, stage.steps - evaluation.final_steps, -evaluation.final_every))
    window.add(stage.steps)
    before: dict[str, float] = {}
    last: dict[str, list[float]] = {}
    for record in read_records(folder.evals, EvalRecord):
        if record.step == 0:
            before[record.dataset] = record.loss
        if record.step in window:
            last.setdefault(record.dataset, []).append(record.loss)
    manifest = verify(folder.checkpoint(stage.steps))
    seconds = sum(r.seconds for r in read_records(folder.throughput, ThroughputRecord))
    return StageResult(
        before=before,
        final={dataset: sum(losses) / len(losses) for dataset, losses in last.items()},
        read=source_counts(state.read),
        ledger=source_counts(state.ledger),
        train_seconds=seconds,
        weights_sha256=manifest.files["model.safetensors"].sha256,
    )


class _Speed:
    """Seconds of steps since the last record."""

    def __init__(self, step: int) -> None:
        self._since = step
        self._seconds = 0.0
        self._waited = 0.0

    def add(self, seconds: float, waited: float) -> None:
        self._seconds += seconds
        self._waited += waited

    def record(self, step: int, tokens_per_step: int) -> ThroughputRecord:
        """Return the record since the one before, and begin the next."""
        tokens = (step - self._since) * tokens_per_step
        record = ThroughputRecord(
            step=step,
            seconds=self._seconds,
            tokens_per_second=tokens / max(self._seconds, 1e-9),
            data_wait_seconds=self._waited,
        )
        self._since, self._seconds, self._waited = step, 0.0, 0.0
        return record
