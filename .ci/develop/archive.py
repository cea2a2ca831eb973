"""The archive that ComfyUI's registry makes of this package: listed, scanned, and run in a ComfyUI without test tools.

`make archive`, or in an environment with a ComfyUI `python .ci/develop/archive.py`. `make archive PUBLISH=1`, or the
argument `publish`, also refuses what has to be filled in before publishing. Git says what is in it.
"""

import shutil
import subprocess
import sys
import time
import zipfile
from collections import defaultdict
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[2]
sys.path[:1] = [str(ROOT / "tests" / "support"), str(ROOT / ".ci")]  # not this folder, which has a browser.py too

import numpy as np  # noqa: E402

from develop import bare, ready, scan  # noqa: E402
from live.server import FAST_ATTENTION, Server, comfyui_path  # noqa: E402
from live.titles import TWIN, titled  # noqa: E402
from live.ui_graphs import to_prompt  # noqa: E402

PLACE = ROOT / ".host" / "archive"
IGNORED = ".comfyignore"
FIRST_GRAPH = titled(f"{TWIN}image_prompt_in_one_node")
MEGABYTE = 1 << 20
FLAT = 5  # levels of 255 by which pixels differ, at least, where something was drawn


def main() -> None:
    """Build the archive, say what is in it, scan it and run it. Raises SystemExit where one of these fails."""
    wrong = ready.check()
    print("".join(f"before publishing: {complaint}\n" for complaint in wrong), end="")
    if wrong and "publish" in sys.argv[1:]:
        raise SystemExit("Not to be published yet.")
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    archive = build(PLACE / "node.zip")
    print(listing(archive))
    report_findings()
    begun = time.monotonic()
    python = bare.make(PLACE / "python", [comfyui_path() / "requirements.txt", ROOT / "requirements.txt"])
    install(archive, PLACE / "base")
    with Server(PLACE / "base", options=[FAST_ATTENTION], python=python, packs={}) as server:
        picture = first_picture(server)
        described = [name for name in server.object_info() if name.startswith("IPA_")]
    if picture.std() < FLAT:
        raise SystemExit(f"{FIRST_GRAPH} drew a picture of one colour.")
    height, width = picture.shape[:2]
    print(f"{FIRST_GRAPH} ran on {comfyui_path().name} beside {len(described)} nodes: a picture of {width}x{height}")
    print(f"({time.monotonic() - begun:.0f} s)")


def tracked(*options: str) -> set[str]:
    """Files that git tracks in this checkout."""
    listed = subprocess.run(["git", "ls-files", "-z", *options], cwd=ROOT, capture_output=True, check=True).stdout
    return {name for name in listed.decode().split("\0") if name}


def files() -> list[str]:
    """What the archive holds: what git tracks, without what .comfyignore names."""
    ignored = tracked("--cached", "--ignored", f"--exclude-from={IGNORED}")
    return sorted(name for name in tracked() - ignored if (ROOT / name).exists())


def build(archive: Path) -> Path:
    """Write the archive."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name in files():
            opened.write(ROOT / name, name)
    return archive


def listing(archive: Path) -> str:
    """The files of an archive, then the sum of each folder and of all."""
    with zipfile.ZipFile(archive) as opened:
        sizes = {entry.filename: entry.file_size for entry in opened.infolist()}
    folders: dict[str, list[int]] = defaultdict(list)
    for name, size in sizes.items():
        folders[name.partition("/")[0] + "/" if "/" in name else "the top"].append(size)
    rows = [f"{size:>10,}  {name}" for name, size in sizes.items()]
    sums = [f"{sum(each):>10,}  {folder} ({len(each)} files)" for folder, each in sorted(folders.items())]
    unpacked, packed = (size / MEGABYTE for size in (sum(sizes.values()), archive.stat().st_size))
    whole = f"{len(sizes)} files, {unpacked:.1f} MB; {packed:.1f} MB packed"
    return "\n".join([*rows, "", *sums, "", whole])


def report_findings() -> None:
    """Say what the registry's scanner would stop at. Raises SystemExit for what no exception names."""
    findings = scan.scan(ROOT, files())
    for (row, file), reason in scan.EXCEPTIONS.items():
        print(f"exception: {row} in {file}: {reason}")
    for finding in (odd := scan.unexpected(findings)):
        print(f"{finding.file}:{finding.line}: {finding.row}: {finding.text}")
    if odd:
        raise SystemExit("Take these out, or give the reason in EXCEPTIONS of .ci/develop/scan.py and in SECURITY.md.")


def install(archive: Path, base: Path) -> Path:
    """Unpack an archive as a custom node, under its name in the registry; the folder."""
    folder = base / "custom_nodes" / ready.settings()["project"]["name"]
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return folder


def first_picture(server: Server) -> np.ndarray:
    """What the first graph that the server offers draws, sent as the editor sends it: uint8 (height, width, 3)."""
    (pack,) = (name for name, graphs in server.get("/api/workflow_templates").items() if FIRST_GRAPH in graphs)
    graph = server.get(f"/api/workflow_templates/{pack}/{quote(FIRST_GRAPH)}.json")
    (saver,) = (str(node["id"]) for node in graph["nodes"] if node["type"] == "SaveImage")
    return server.run(to_prompt(graph, server.object_info()), seconds=600).image(saver)


if __name__ == "__main__":
    main()
