"""The commits of the hub that a run was begun with: it goes on with them, wherever a branch has moved to."""

from dataclasses import replace

from rewarm.campaign import LoadedCampaign
from rewarm.campaign.hub import commit_of, from_names, hub_id
from rewarm.errors import MismatchError
from rewarm.runs.files import read_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import ResolvedRecord


def with_recorded_commits(loaded: LoadedCampaign, run: RunFolder) -> LoadedCampaign:
    """Return a campaign whose names of the hub stand for the commits that a run was begun with."""
    commits = {name: commit for name, commit in _recorded(run).items() if commit is not None}
    return replace(loaded, commits=commits)


def check_commits(loaded: LoadedCampaign, run: RunFolder) -> None:
    """Refuse to go on where a name stands for another commit, or another place, than when the run was begun.

    Raises:
        MismatchError: which name, what it stood for, and what to write.
    """
    before, now = _recorded(run), _commits(loaded)
    for name in sorted(before.keys() & now.keys()):
        if before[name] != now[name]:
            raise MismatchError(
                f"{run.path}: was begun when {name!r} was {_said(before[name])}, and now it is "
                f"{_said(now[name])}, so its stages would not come from one model. "
                f"{_remedy(name, before[name], now[name])}, or give the campaign another name to begin anew."
            )


def _remedy(name: str, commit: str | None, now: str | None) -> str:
    if commit is None:
        return "Put back what was at that path"
    if now is None:
        return "Move away what is at that path"
    found = hub_id(name)
    assert found is not None, "only what is on the hub has a commit"
    return f'Write from = "{found.repository}@{commit}", which is always the same'


def recorded_commits(loaded: LoadedCampaign, run: RunFolder) -> dict[str, str | None]:
    """Return what to record of a run: every name that it has ever had, and the commit."""
    return _recorded(run) | _commits(loaded)


def _recorded(run: RunFolder) -> dict[str, str | None]:
    if not run.resolved.exists():
        return {}
    return dict(read_record(run.resolved, ResolvedRecord).hub_commits)


def _commits(loaded: LoadedCampaign) -> dict[str, str | None]:
    return {name: commit_of(name, loaded.root, loaded.commits) for name in from_names(loaded)}


def _said(commit: str | None) -> str:
    return "a local path" if commit is None else f"commit {commit} of the hub"
