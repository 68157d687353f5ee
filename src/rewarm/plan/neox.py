"""A stage as a configuration of GPT-NeoX, with which the paper was made.

GPT-NeoX takes a learning rate from the steps made before, so all but constant ones come one step late; the
notes say so. Source: GPT-NeoX at ea7aefd8 (May 2026), `megatron/learning_rates.py`, `megatron/training.py`,
`megatron/checkpointing.py`, `configs/pythia/410M.yml`; DeepSpeed calls the scheduler after each step.
"""

import json
from typing import Any, cast

from rewarm.campaign.presets import PRESETS
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
from rewarm.schedules import Cosine, Linear

_NAME = "GPT-NeoX"


def neox_arguments(plan: Plan, stage: StagePlan, files: TokenFiles) -> Exported[dict[str, Any]]:
    """Return a stage as keys of a GPT-NeoX configuration file.

    Args:
        plan: the plan of the campaign.
        stage: one of its stages.
        files: where the prepared tokens lie.

    Returns:
        The keys and values, and notes.

    Raises:
        CampaignError: something in the stage cannot be said to GPT-NeoX; the key and the reason are named.
    """
    check_reset(stage, _NAME)
    shares, notes = blend(stage, files, _NAME)
    campaign, optimizer = stage.campaign, stage.campaign.optimizer
    shape = shape_of(stage, _NAME)
    rates, late = _learning_rate(stage, shape)
    validation = list(files.validation.values())
    arguments: dict[str, Any] = {
        **_model(plan, stage),
        "seq_length": stage.sequence_length,
        "max_position_embeddings": stage.sequence_length,
        "tokenizer_type": "HFTokenizer",
        "vocab_file": files.tokenizer,
        "data_impl": "mmap",
        "train_data_paths": [files.train[source] for source in shares],
        "train_data_weights": [float(share) for share in shares.values()],
        "valid_data_paths": validation,
        "valid_data_weights": [1.0 for _ in validation],
        "test_data_paths": validation,
        "test_data_weights": [1.0 for _ in validation],
        "train_iters": stage.steps,
        "train_batch_size": stage.batch_sequences,
        "train_micro_batch_size_per_gpu": campaign.micro_batch_sequences,
        "optimizer": {
            "type": "Adam",
            "params": {
                "lr": shape.max_lr,
                "betas": list(optimizer.betas),
                "eps": optimizer.eps,
            },
        },
        "min_lr": shape.min_lr,
        **rates,
        "override_lr_scheduler": True,
        "weight_decay": optimizer.weight_decay,
        "gradient_clipping": optimizer.clip_norm,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "precision": "bfloat16" if campaign.training.precision == "bf16" else "fp32",
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": {"stage": 1},
        "seed": campaign.seed,
        "eval_interval": stage_interval(stage, "evaluation"),
        "eval_iters": -(-campaign.evaluation.sequences // stage.batch_sequences),
        "checkpoint_factor": stage_interval(stage, "checkpoints"),
        **_checkpoints(stage),
    }
    return Exported(arguments=arguments, notes=(*late, *notes, *_notes(stage)))


def neox_text(exported: Exported[dict[str, Any]]) -> str:
    """Write the configuration as YAML, one key a line."""
    return "\n".join(f"{key}: {_yaml(value)}" for key, value in exported.arguments.items())


def _yaml(value: object) -> str:
    """Write a value as YAML 1.1 reads it: 1e-08 without a point would be a text there."""
    match value:
        case bool() | str():
            return json.dumps(value)
        case float():
            mantissa, e, exponent = repr(value).partition("e")
            return mantissa + (".0" if e and "." not in mantissa else "") + e + exponent
        case list():
            return "[" + ", ".join(map(_yaml, cast(list[object], value))) + "]"
        case dict():
            items = cast(dict[str, object], value).items()
            return "{" + ", ".join(f"{json.dumps(key)}: {_yaml(item)}" for key, item in items) + "}"
        case _:
            return str(value)


def _model(plan: Plan, stage: StagePlan) -> dict[str, Any]:
    """Return the shape of a preset; a model folder's is not known here."""
    size, name = plan.size_of(stage), stage.campaign.model.preset
    if name is None:
        return {}
    if size is None:
        raise refusal(
            stage,
            "the vocabulary",
            "the tokenizer is not there yet, so the rows of the embedding are not known",
            "set model.vocabulary, or put the tokenizer where the campaign names it",
        )
    preset = PRESETS[name]
    return {
        "num_layers": preset.layers,
        "hidden_size": preset.width,
        "num_attention_heads": preset.heads,
        "norm": "layernorm",
        "layernorm_epsilon": 1e-5,
        "activation": "gelu",
        "pos_emb": "rotary",
        "rotary_pct": 0.25,
        "rotary_emb_base": 10_000,
        "gpt_j_residual": True,
        "no_weight_tying": True,
        "make_vocab_size_divisible_by": size.vocabulary,
        "init_method": "small_init",
        "output_layer_init_method": "wang_init",
    }


def _learning_rate(stage: StagePlan, shape: Shape) -> tuple[dict[str, Any], list[str]]:
    """Return the keys of the schedule, and a note where GPT-NeoX is late.

    Its step k has max_lr·max(1, k - 1)/W in the warmup, and then the curve at k - 1. Only a constant rate and
    a decay straight after a warmup of one step can be had at the right time.
    """
    _check_decay(stage, shape)
    style = "constant" if shape.decay is None else shape.decay.shape
    if shape.warmup_steps <= 1 and shape.decay is None:
        return {"lr_decay_style": style, "lr_decay_iters": stage.steps, "warmup": 0.0}, []
    if shape.warmup_steps == 1 and stage.steps > 1:
        return {"lr_decay_style": style, "lr_decay_iters": stage.steps - 1, "warmup": 0.0}, []
    before = "k - 1, and the first that of step 1" if shape.warmup_steps else "k - 1"
    return {
        "lr_decay_style": style,
        "lr_decay_iters": stage.steps,
        "warmup": shape.warmup_steps / stage.steps,
    }, [f"{_NAME} is one step late: its step k has the campaign's learning rate of step {before}"]


def _check_decay(stage: StagePlan, shape: Shape) -> None:
    """Refuse a decay that GPT-NeoX does not have."""
    if shape.decay is None:
        return
    if shape.hold_steps:
        raise refusal(
            stage,
            "schedule",
            f"it holds max_lr before it decays, and {_NAME} decays straight after the warmup",
            "use a cosine or constant schedule",
        )
    if isinstance(shape.decay, Linear) and shape.min_lr > 0:
        raise refusal(
            stage,
            "schedule",
            f"{_NAME}'s linear decay aims at 0 and is cut off at min_lr = {shape.min_lr:g}, which is "
            "another line",
            "set min_lr = 0, or use a cosine schedule",
        )
    if not isinstance(shape.decay, Linear | Cosine):
        raise refusal(
            stage,
            "schedule",
            f"its decay is {shape.decay.shape}, and {_NAME} has a cosine and a line to 0 (its "
            '"exponential" always halves the rate)',
            "use a cosine schedule",
        )


def _checkpoints(stage: StagePlan) -> dict[str, Any]:
    """Load the parent's weights alone. `no_load_optim` is not used: it trains with a rate of 0."""
    own = f"{CHECKPOINTS}/{stage.folder}"
    if stage.parent is None and stage.campaign.model.from_ is None:
        return {"save": own, "load": own}
    if stage.parent is None:
        return {"save": own, "load": f"{CHECKPOINTS}/base", "finetune": True}
    keys: dict[str, Any] = {
        "save": own,
        "load": f"{CHECKPOINTS}/{stage.parent.folder}",
        "finetune": True,
    }
    is_branch = stage.start_step != stage.parent.steps
    return keys | ({"iteration": stage.start_step} if is_branch else {})


def _notes(stage: StagePlan) -> list[str]:
    """Say what is left to the user."""
    found = [f"the order within each source is {_NAME}'s own; the shares are the campaign's"]
    if stage.parent is not None or stage.campaign.model.from_ is not None:
        found.append(
            f"to go on after a stop, set load to {CHECKPOINTS}/{stage.folder} and leave out finetune"
            + (" and iteration" if stage.parent and stage.start_step != stage.parent.steps else "")
        )
    if stage.campaign.model.from_ is not None:
        found.append(
            f"add the shape of the model {stage.campaign.model.from_}, and convert its weights to "
            f"{CHECKPOINTS}/base"
        )
    return found
