"""What became of graphs that people share, as lines and as a page."""

from collections.abc import Mapping

from shared_graphs.trial import Trial

HEAD = """# Graphs that people share

How many of {count} graphs that people published, made with the nodes of IPAdapter Plus between 2023 and 2025, open and
run here. `make graphs` in a checkout that has the graphs beside it (`../shared/graphs`) writes this page; without them
it tries the ones that the tests bring.

Each graph is opened in ComfyUI's own editor, in Chromium, and compared with its file: every IP-Adapter node known, with
the links and values that were saved. Then what the editor would send is run on a real server, with miniature models in
place of the published ones, small sizes and two steps. Nodes of packs that are not installed are cut away: what they
gave is replaced by a picture, a text, a mask or a model that stands in for it, and an IP-Adapter node that nothing runs
any more gets a sampler. What a file leaves open, such as a preset `None`, is chosen; what is all switched off is
switched on. At last the graph is converted to this package's own nodes (`python -m ip_adapter_core.migrate`) and run
again; *same picture* is within one of 256 levels.

{summary}

| graph | nodes cut away | IP-Adapter nodes | opens | runs | converted | same picture |
| --- | ---: | ---: | --- | --- | ---: | --- |
"""


def summary(trials: Mapping[str, Trial]) -> str:
    """The counts in one line."""
    ran = [trial for trial in trials.values() if trial.ran]
    refused = sum(bool(trial.refusal) for trial in trials.values())
    converted = [trial for trial in ran if trial.converted]
    return (
        f"opened {sum(not trial.wrong for trial in trials.values())} of {len(trials)}, "
        f"ran {len(ran)} of {len(trials) - refused}"
        + (f" ({refused} refused with a reason)" if refused else "")
        + f"; converted {sum(trial.converted for trial in ran)} of {sum(trial.old for trial in ran)} nodes, "
        f"same picture {sum(not trial.unlike for trial in converted)} of {len(converted)}"
    )


def line(name: str, trial: Trial) -> str:
    """A graph in one line."""
    found = [*trial.wrong, trial.failure, trial.unlike]
    return f"{name}: {'ran' if trial.ran else 'did not run'}" + "".join(f"\n    {reason}" for reason in found if reason)


def page(trials: Mapping[str, Trial]) -> str:
    """The page of the documentation."""
    rows = "".join(f"| {' | '.join(_cells(name, trial))} |\n" for name, trial in trials.items())
    return HEAD.format(count=len(trials), summary=summary(trials)) + rows


def _cells(name: str, trial: Trial) -> list[str]:
    same = ("no" if trial.unlike else "yes") if trial.converted else ""
    runs = "yes" if trial.ran else f"no: {trial.refusal or trial.failure.splitlines()[0]}"
    return [
        name, str(trial.foreign or ""), str(trial.old), "no" if trial.wrong else "yes", runs,
        f"{trial.converted} of {trial.old}", same,
    ]  # fmt: skip
