"""One picture from the real server over miniature models, as a first sign of life."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from PIL import Image  # noqa: E402

from live.graphs import text_to_image  # noqa: E402
from live.models import fabricate_models  # noqa: E402
from live.server import Server  # noqa: E402


def main() -> None:
    """Make the picture and say where it is."""
    base = TESTS.parent / ".host" / "demo"
    fabricate_models(base / "models")
    with Server(base) as server:
        picture = server.run(text_to_image(size=256, steps=8)).image()
    place = base / "picture.png"
    Image.fromarray(picture).save(place)
    print(f"A picture is in {place}")


if __name__ == "__main__":
    main()
