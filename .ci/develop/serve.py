"""A ComfyUI with this package and miniature models, to click around in; everything it makes stays in .host/serve."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from live.models import fabricate_models  # noqa: E402
from live.pictures import draw_inputs  # noqa: E402
from live.server import FAST_ATTENTION, Server  # noqa: E402


def main() -> None:
    """Start the server and keep it until Ctrl-C."""
    base = ROOT / ".host" / "serve"
    fabricate_models(base / "models")
    with Server(base, int(sys.argv[1]) if len(sys.argv) > 1 else None, [FAST_ATTENTION], all_cores=True) as server:
        draw_inputs(base / "input")
        print(f"ComfyUI is at {server.address} (files in {base}; Ctrl-C ends it)", flush=True)
        try:
            server.process.wait()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
