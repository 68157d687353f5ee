"""A stage as arguments for Megatron-LM.

Megatron-LM computes the rate of its k-th step from the k - 1 batches before it, rewarm from k. The arguments
make up for that, so that the rates are the same at every step. Source: Megatron-LM at d98e8a64 (August 2026),
`core/optimizer_param_scheduler.py`, `training/training.py`, `training/checkpointing.py`.
"""

import shlex
from typing import TypeAlias

from rewarm.plan.foreign import (
    CHECKPOINTS,
    Exported,
    Shape,
    TokenFiles,
    blend,
    check_reset,
    refusal,
    shape_of,
    stage_interval,
)
from rewarm.plan.plan import Plan
from rewarm.plan.stage import StagePlan
from rewarm.schedules import Cosine, Linear, OneMinusSqrt, Segment

Flags: TypeAlias = dict[str, list[object]]

_NAME = "Megatron-LM"
_DECAY_STYLES: dict[type[Segment], str] = {
    Cosine: "cosine",
    Linear: "linear",
    OneMinusSqrt: "minus_sqrt",
}


def megatron_arguments(plan: Plan, stage: StagePlan, files: TokenFiles) -> Exported[list[str]]:
    """Return a stage as arguments of Megatron-LM's `pretrain_gpt.py`.

    They say the data, the batch, the steps, the learning rates, the optimizer, the precision and what is
    loaded. The model, the tokenizer and how the work is spread over GPUs are not among them.

    Args:
        plan: the plan of the campaign.
        stage: one of its stages.
        files: where the prepared tokens lie.

    Returns:
        The words of the command line, and notes.

    Raises:
        CampaignError: something in the stage cannot be said to Megatron-LM; the key and the reason are named.
    """
    check_reset(stage, _NAME)
    shares, notes = blend(stage, files, _NAME)
    campaign, optimizer = stage.campaign, stage.campaign.optimizer
    blended: list[object] = [
        word for source, share in shares.items() for word in (float(share), files.train[source])
    ]
    flags: Flags = {
        "train-data-path": blended,
        "train-iters": [stage.steps],
        "global-batch-size": [stage.batch_sequences],
        "micro-batch-size": [campaign.micro_batch_sequences],
        "seq-length": [stage.sequence_length],
        **_learning_rate(stage, shape_of(stage, _NAME)),
        "optimizer": ["adam"],
        "adam-beta1": [optimizer.betas[0]],
        "adam-beta2": [optimizer.betas[1]],
        "adam-eps": [optimizer.eps],
        "weight-decay": [optimizer.weight_decay],
        "clip-grad": [optimizer.clip_norm],
        "seed": [campaign.seed],
        "eval-interval": [stage_interval(stage, "evaluation")],
        "eval-iters": [0],
        "save-interval": [stage_interval(stage, "checkpoints")],
        **_checkpoints(stage),
    }
    if campaign.training.precision == "bf16":
        flags["bf16"] = []
    words = [str(word) for flag, values in flags.items() for word in (f"--{flag}", *values)]
    return Exported(arguments=words, notes=(*notes, *_notes(plan, stage)))


def megatron_text(exported: Exported[list[str]]) -> str:
    """Write the arguments as a Bash array, one flag a line: `"${STAGE[@]}"` gives them to a command."""
    lines: list[str] = []
    for word in exported.arguments:
        if word.startswith("--"):
            lines.append(f"  {word}")
        else:
            lines[-1] += f" {shlex.quote(word)}"
    return "\n".join(["STAGE=(", *lines, ")"])


def _learning_rate(stage: StagePlan, shape: Shape) -> Flags:
    """Shift the schedule by the one step: W - 1 steps of warmup from max_lr/W, and the end at step T - 1.

    With n = k - 1, max_lr/W + (max_lr - max_lr/W)·n/(W - 1) = max_lr·k/W. A decay that begins with the stage
    is one of WSD as long as the stage: its D steps may reach back before the first.
    """
    warmup_steps = max(shape.warmup_steps - 1, 0)
    flags: Flags = {
        "lr": [shape.max_lr],
        "min-lr": [shape.min_lr],
        "lr-warmup-iters": [warmup_steps],
    }
    if warmup_steps:
        flags["lr-warmup-init"] = [shape.max_lr / shape.warmup_steps]
    if shape.decay is None:
        return {**flags, "lr-decay-style": ["constant"], "lr-decay-iters": [stage.steps]}
    style = _DECAY_STYLES.get(type(shape.decay))
    if style is None:
        raise refusal(
            stage,
            "schedule",
            f"its decay is {shape.decay.shape}, and {_NAME} has cosine, linear and 1-sqrt ones alone (its "
            '"exponential" is 2·0.5^x - 1 and its "inverse-square-root" has no end)',
            "choose one of these shapes",
        )
    if stage.steps < 2:
        raise refusal(
            stage, "budget", f"{_NAME} has no decay in a stage of one step", "raise the budget"
        )
    flags["lr-decay-iters"] = [stage.steps - 1]
    if shape.warmup_steps and not shape.hold_steps and style != "minus_sqrt":
        return {**flags, "lr-decay-style": [style]}
    return {
        **flags,
        "lr-decay-style": ["WSD"],
        "lr-wsd-decay-style": [style],
        "lr-wsd-decay-iters": [shape.decay.steps],
    }


def _checkpoints(stage: StagePlan) -> Flags:
    """Go on with the stage's own checkpoint; without one, take the weights of the parent's and nothing else."""
    own = f"{CHECKPOINTS}/{stage.folder}"
    flags: Flags = {"save": [own], "load": [own]}
    if stage.parent is None and stage.campaign.model.from_ is None:
        return flags
    flags["pretrained-checkpoint"] = [
        f"{CHECKPOINTS}/{stage.parent.folder if stage.parent else 'base'}"
    ]
    if stage.parent is not None and stage.start_step != stage.parent.steps:
        flags["ckpt-step"] = [stage.start_step]
    return {**flags, "override-opt-param-scheduler": []}


def _notes(plan: Plan, stage: StagePlan) -> list[str]:
    """Say what is left to the user."""
    model, size = stage.campaign.model, plan.size_of(stage)
    rows = "" if size is None else f" of {size.vocabulary:,} rows"
    found = [
        f"the order within each source is {_NAME}'s own; the shares are the campaign's",
        f"add the tokenizer with a padded vocabulary{rows}, the parallelism, and the model: "
        + (
            f"{_NAME} has no parallel residual, which preset {model.preset} has, so another model is needed"
            if model.preset
            else f"that of {model.from_}, its weights converted to {CHECKPOINTS}/base"
        ),
        "nothing is validated (--eval-iters 0): --valid-data-path and --eval-iters add it",
    ]
    if stage.parent is not None and stage.start_step != stage.parent.steps:
        found.append(
            f"--ckpt-step {stage.start_step} picks the branch point; leave it out when the stage goes on "
            "after a stop"
        )
    return found
