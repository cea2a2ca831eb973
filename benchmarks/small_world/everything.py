"""The whole recipe in order: vocabulary, CLIP, judge, text-to-image model, autoencoder, adapters, ControlNet, style."""

import sys

from . import adapters, autoencoder, base, clip, controlnet, echo, history, judge, style, words

STEPS = {
    "judge": 1200,
    "autoencoder": 3000,
    "controlnet": 1200,
    "style": 600,
}
"""How long each part of what is shipped was trained."""


def main(limit: int = sys.maxsize) -> None:
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
        echo.main(kind, min(echo.STEPS, limit))
        for number in range(1, len(adapters.CYCLES) + 1):
            adapters.main(kind, number, limit)
    controlnet.main(steps["controlnet"])
    style.main(steps["style"])
    history.main()
