"""The whole recipe in order: vocabulary, CLIP, judge, text-to-image model, autoencoder, adapters, ControlNet, style."""

from . import adapters, autoencoder, base, clip, controlnet, history, judge, style, words

STEPS = {
    "judge": 1200,
    "autoencoder": 3000,
    "adapters": 2000,
    "controlnet": 1200,
    "style": 400,
}
"""How long each part of what is shipped was trained."""


def main(limit: int = max(*STEPS.values(), *clip.CYCLES, *base.CYCLES)) -> None:
    """Make every file that the package ships, each in at most `limit` steps."""
    steps = {name: min(count, limit) for name, count in STEPS.items()}
    words.main()
    for cycle, count in enumerate(clip.CYCLES):
        clip.main(min(count, limit), cycle)
    judge.main(steps["judge"])
    for cycle, count in enumerate(base.CYCLES):
        base.main(min(count, limit), cycle)
    autoencoder.main(steps["autoencoder"])
    for kind in adapters.READS:
        adapters.main(kind, steps["adapters"])
    controlnet.main(steps["controlnet"])
    style.main(steps["style"])
    history.main()
