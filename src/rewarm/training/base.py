"""The base model of a campaign: what it is built like, and where its first weights come from."""

from collections.abc import Callable
from dataclasses import dataclass

from transformers import PreTrainedConfig, PreTrainedModel

from rewarm.campaign import PRESETS
from rewarm.engine.world import derive_seed
from rewarm.errors import MismatchError
from rewarm.models.build import PresetWeights, preset_config
from rewarm.models.empty import empty_model
from rewarm.models.folder import open_folder
from rewarm.models.hub import local_model_folder
from rewarm.plan import StagePlan
from rewarm.tensors.held import shapes_of
from rewarm.tensors.source import TensorSource
from rewarm.training.job import Job


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """A model to start from, not in memory yet."""

    config: PreTrainedConfig
    """What it is built like."""
    empty: Callable[[], PreTrainedModel]
    """Builds it without weights."""
    weights: Callable[[], TensorSource]
    """Opens its weights."""


def base_model(job: Job, stage: StagePlan) -> BaseModel:
    """Open the model that a stage's campaign starts from.

    Raises:
        CheckpointError: the model folder cannot be used, or is not on this machine.
        MismatchError: the tokenizer has entries that the model has no vectors for.
    """
    campaign = stage.campaign
    if campaign.model.from_ is not None:
        loaded = job.plan.loaded
        folder = open_folder(local_model_folder(campaign.model.from_, loaded.root, loaded.commits))
        _check_vocabulary(job, folder.config)
        return BaseModel(
            config=folder.config,
            empty=folder.empty_model,
            weights=lambda: folder.weights(folder.empty_model()),
        )
    assert campaign.model.preset is not None, "a model is a preset or a folder"
    preset = PRESETS[campaign.model.preset]
    config = preset_config(
        preset,
        vocabulary=campaign.model.vocabulary or job.data.tokenizer.vocabulary,
        sequence_length=campaign.sequence_length,
    )
    _check_vocabulary(job, config)
    seed = derive_seed(campaign.seed, "weights")
    return BaseModel(
        config=config,
        empty=lambda: empty_model(config),
        weights=lambda: PresetWeights(
            preset=preset, model_shapes=shapes_of(empty_model(config)), seed=seed
        ),
    )


def _check_vocabulary(job: Job, config: PreTrainedConfig) -> None:
    entries = job.data.tokenizer.vocabulary
    if config.vocab_size < entries:
        raise MismatchError(
            f"the tokenizer {job.data.tokenizer.path} has {entries:,} entries, the model's embedding only "
            f"{config.vocab_size:,} rows, so some tokens have no vector. Use the model's own tokenizer, or set "
            "model.vocabulary."
        )
