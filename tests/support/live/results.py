"""What comes back from a ComfyUI server: pictures, times, and errors that say which node failed and why."""

from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
from PIL import Image

PICTURE = "picture"


class ExecutionError(Exception):
    """A node failed while the graph ran."""

    def __init__(self, failure: dict[str, Any]) -> None:
        self.node_id: str = failure.get("node_id", "")
        self.node_type: str = failure.get("node_type", "")
        self.message: str = failure.get("exception_message", "").strip()
        self.traceback = "".join(failure.get("traceback", []))
        super().__init__(f"{self.node_type} ({self.node_id}): {self.message}\n{self.traceback}")


class ValidationError(Exception):
    """The server refused the graph before running it."""

    def __init__(self, refusal: dict[str, Any]) -> None:
        self.error: dict[str, Any] = refusal.get("error", {})
        self.node_errors: dict[str, Any] = refusal.get("node_errors", {})
        super().__init__(f"{self.error.get('message', refusal)}: {self.node_errors}")


class Result(NamedTuple):
    """A finished graph: what each output node reported, which nodes came from the cache, and the wall time."""

    outputs: dict[str, Any]
    cached: frozenset[str]
    seconds: float
    fetch: Callable[[str], bytes]

    def images(self, node_id: str = PICTURE) -> list[np.ndarray]:
        """The pictures of an output node as uint8, (height, width, 3 or 4). Raises LookupError when it reports none."""
        if node_id not in self.outputs:
            raise LookupError(f"Node {node_id} reported nothing; it came from the cache: {node_id in self.cached}.")
        places = [urlencode(place) for place in self.outputs[node_id]["images"]]
        return [np.asarray(Image.open(BytesIO(self.fetch(f"/view?{place}")))) for place in places]

    def image(self, node_id: str = PICTURE) -> np.ndarray:
        """The only picture of an output node."""
        (picture,) = self.images(node_id)
        return picture


def read_result(entry: dict[str, Any], seconds: float, fetch: Callable[[str], bytes]) -> Result:
    """Turn an entry of the server's history into a result. Raises ExecutionError when it tells of a failure."""
    messages = dict(entry["status"]["messages"])
    if entry["status"]["status_str"] != "success":
        raise ExecutionError(messages.get("execution_error") or messages.get("execution_interrupted", {}))
    cached = frozenset(messages.get("execution_cached", {}).get("nodes", []))
    return Result(entry["outputs"], cached, seconds, fetch)
