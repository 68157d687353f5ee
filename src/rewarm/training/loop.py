"""The loop of one stage, top to bottom: batch, step, record, evaluate, save, stop if asked, finish."""

import time
from contextlib import closing

from rewarm.data.batches import Batch
from rewarm.engine.failpoint import failpoint
from rewarm.engine.manifest import MANIFEST, read
from rewarm.engine.saver import Saver
from rewarm.errors import RewarmError
from rewarm.evaluation.continuations import continuation
from rewarm.evaluation.validation import mean_loss, validation_sequences
from rewarm.plan import StagePlan
from rewarm.plan.record import source_counts, stage_record
from rewarm.runs.files import read_records
from rewarm.runs.records import (
    EvalRecord,
    SampleRecord,
    StageResult,
    StepRecord,
    ThroughputRecord,
)
from rewarm.training.job import Job
from rewarm.training.not_finite import remedy
from rewarm.training.state import TrainState, begin_stage, resume_stage, save_state
from rewarm.training.step import StepResult, train_step
from rewarm.training.supervisor import reason_of_restart


def train_stage(job: Job, stage: StagePlan) -> None:
    """Train a stage to its end, from where it stands.

    Raises:
        InterruptedRunError: a signal asked to stop; the state was saved.
        NumericsError: a loss that is not finite, and the campaign says to stop, or going on did not help.
        StorageError: the disk is full.
    """
    job.journal(stage).write(job.folder(stage).record, stage_record(job.plan, stage))
    saver = Saver(job.ranks, in_background=job.plan.campaign.checkpoints.in_background)
    bad_step = rewinds = 0
    while True:
        state = resume_stage(job, stage)
        if state is None:
            state = begin_stage(job, stage)
            evaluate(job, stage, state)
        if (reason := reason_of_restart()) is not None:
            job.journal(stage).event(state.step, "restarted", reason)
        try:
            back_at = _train(job, stage, state, saver, leave_out_until=bad_step, rewinds=rewinds)
        except RewarmError:
            # What ends the training says that the last checkpoint is good, so it must be there by then.
            saver.finish()
            raise
        saver.finish()
        if back_at is None:
            finish(job, stage, state)
            return
        bad_step, rewinds = back_at, rewinds + 1
        del state  # before the next one is in memory


def _train(
    job: Job,
    stage: StagePlan,
    state: TrainState,
    saver: Saver,
    *,
    leave_out_until: int,
    rewinds: int,
) -> int | None:
    """Do the steps that are left.

    Args:
        job: what training needs.
        stage: the stage.
        state: where it stands.
        saver: of its checkpoints.
        leave_out_until: the batches up to this step are not trained on.
        rewinds: times that this process has gone back in the stage.

    Returns:
        None when they are done, or the bad step because of which to go back to the newest checkpoint.
    """
    folder, journal = job.folder(stage), job.journal(stage)
    evaluation_steps = set(job.plan.evaluation_steps(stage))
    checkpoint_steps = set(job.plan.checkpoint_steps(stage))
    speed = _Speed()
    rows = job.batches(stage, state.model.grid.data_rank)
    with (
        closing(rows.prefetched(state.step + 1, stage.steps)) as batches,
        job.reporter.stage(
            stage,
            done=state.step,
            flops_per_token=job.plan.train_flops(stage) / stage.tokens,
            evals=read_records(folder.evals, EvalRecord) if job.ranks.is_first else (),
        ),
    ):
        while state.step < stage.steps:
            failpoint("in_step")
            began = time.monotonic()
            batch = next(batches)
            waited = time.monotonic() - began
            lr, loss, trained_before = stage.schedule(batch.step), float("nan"), state.trained_steps
            if batch.step <= leave_out_until:
                state.leave_out(batch.step)
            else:
                result = train_step(
                    state.model,
                    state.optimizer,
                    batch,
                    lr,
                    clip_norm=stage.campaign.optimizer.clip_norm,
                    scale=state.scale,
                    flags=job.stop.flags(),
                )
                job.stop.agree(result.flags)
                if result.is_finite:
                    state.advance(batch)
                    journal.append(folder.metrics, _step_record(stage, state, batch, lr, result))
                elif (
                    remedy(stage, state, journal, batch.step, result, rewinds=rewinds) == "go back"
                ):
                    return batch.step
                else:
                    state.leave_out(batch.step)
                if stage.campaign.training.precision == "fp16":
                    state.scale = state.scale.after(overflow=not result.is_finite)
                loss = result.loss
            tokens = (state.trained_steps - trained_before) * stage.batch_tokens
            speed.add(time.monotonic() - began, waited, tokens)
            if state.step in evaluation_steps:
                evaluate(job, stage, state)
            stop = job.stop.agreed
            if state.step in checkpoint_steps or stop is not None:
                journal.append(folder.throughput, speed.record(state.step))
                save_state(job, stage, state, saver)
                job.reporter.saved()
            job.reporter.step(batch.step, loss, lr, time.monotonic() - began, waited)
            if stop is not None:
                saver.finish()
                journal.event(state.step, "interrupted", f"stopped by {stop.name}")
                raise job.stop.interruption(f"step {state.step:,} of {stage.folder} is saved")
    return None


def _step_record(
    stage: StagePlan, state: TrainState, batch: Batch, lr: float, result: StepResult
) -> StepRecord:
    return StepRecord(
        step=batch.step,
        tokens=state.trained_steps * stage.batch_tokens,
        lr=lr,
        loss=result.loss,
        gradient_norm=result.gradient_norm,
        new=batch.new,
        replayed=batch.replayed,
    )


def evaluate(job: Job, stage: StagePlan, state: TrainState) -> None:
    """Measure and record the validation loss on every dataset."""
    wanted, journal = stage.campaign.evaluation.sequences, job.journal(stage)
    for dataset in job.plan.datasets:
        store = job.data.validation[dataset]
        sequences = validation_sequences(store, dataset, stage.sequence_length, wanted)
        if state.step == 0 and sequences < wanted:
            message = f"{dataset} has {sequences:,} validation sequences, fewer than the {wanted:,} asked for"
            journal.event(0, "warning", message)
            job.reporter.say(f"note: {message}; all of them are read")
        loss = mean_loss(
            state.model.losses,
            store,
            sequences=sequences,
            sequence_length=stage.sequence_length,
            at_once=job.layout(stage).micro_batch,
        )
        record = EvalRecord(
            step=state.step,
            tokens=state.trained_steps * stage.batch_tokens,
            dataset=dataset,
            loss=loss,
            sequences=sequences,
        )
        journal.append(job.folder(stage).evals, record)
        job.reporter.evaluated(record)


def finish(job: Job, stage: StagePlan, state: TrainState) -> None:
    """Write the samples and the result; with the result there, the stage is finished."""
    folder, journal = job.folder(stage), job.journal(stage)
    evaluation = job.plan.campaign.evaluation
    samples = [
        SampleRecord(
            prompt=prompt,
            continuation=continuation(
                lambda context: state.model.next_token(context, stage.sequence_length),
                job.data.tokenizer,
                prompt,
                num_tokens=evaluation.prompt_tokens,
            ),
        )
        for prompt in evaluation.prompts
    ]

    def write() -> None:
        folder.samples.unlink(missing_ok=True)
        for sample in samples:
            journal.append(folder.samples, sample)
        journal.event(state.step, "finished", f"finished after {state.step:,} steps")
        result = _result(job, stage, state)
        journal.write(folder.result, result)
        job.reporter.stage_seconds = result.train_seconds

    job.ranks.first_alone(write)


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
    manifest = read(folder.checkpoint(stage.steps) / MANIFEST)  # which the saver has just written
    seconds = sum(r.seconds for r in read_records(folder.throughput, ThroughputRecord))
    return StageResult(
        before=before,
        final={dataset: sum(losses) / len(losses) for dataset, losses in last.items()},
        read=source_counts(state.read),
        ledger=source_counts(state.ledger),
        left_out=state.left_out,
        unread=source_counts(stage.counts_of(state.left_out)),
        train_seconds=seconds,
        weights_sha256=manifest.digest("model"),
    )


class _Speed:
    """Seconds of steps since the last record."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._waited = 0.0
        self._tokens = 0

    def add(self, seconds: float, waited: float, tokens: int) -> None:
        self._seconds += seconds
        self._waited += waited
        self._tokens += tokens

    def record(self, step: int) -> ThroughputRecord:
        """Return the record since the one before, and begin the next."""
        record = ThroughputRecord(
            step=step,
            seconds=self._seconds,
            tokens_per_second=self._tokens / max(self._seconds, 1e-9),
            data_wait_seconds=self._waited,
        )
        self._seconds, self._waited, self._tokens = 0.0, 0.0, 0
        return record
