"""Where a campaign's overlap is kept, and whether it is that of the tokens as they are now."""

from collections.abc import Mapping
from pathlib import Path

from rewarm.data.manifest import manifest_path
from rewarm.data.manifest_file import read_manifest
from rewarm.runs.files import read_record
from rewarm.runs.records import OverlapRecord


def overlap_file(prepared: Path) -> Path:
    """Return where the overlap of the tokens in a folder is kept."""
    return prepared / "overlap.json"


def kept_overlap(
    path: Path, train: Mapping[str, Path], validation: Mapping[str, Path]
) -> OverlapRecord | None:
    """Return the overlap that was measured on some token stores; None if it was not, or on others.

    Args:
        path: where it is kept, if it is.
        train: folders or manifests of the training tokens by source.
        validation: the same of the validation tokens by dataset.

    Raises:
        CheckpointError: the record is damaged.
        DataError: a manifest is damaged.
    """
    places = [*train.values(), *validation.values()]
    if not path.exists() or not all(manifest_path(place).exists() for place in places):
        return None
    record = read_record(path, OverlapRecord)
    is_of_these = (record.train, record.validation) == (_prints(train), _prints(validation))
    return record if is_of_these else None


def _prints(places: Mapping[str, Path]) -> dict[str, str]:
    """Return the fingerprints of token stores."""
    return {name: read_manifest(place).fingerprint for name, place in places.items()}
