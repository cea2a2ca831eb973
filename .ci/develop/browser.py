"""A Chromium for the browser tests: one that is installed, or else one that gets installed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
BUNDLED = "from playwright.sync_api import sync_playwright as p\nwith p() as api: print(api.chromium.executable_path)"


def find() -> str | None:
    """An installed browser: the one CHROME names, one on PATH, one in its usual place, or playwright's own."""
    found = [os.environ.get("CHROME"), *map(shutil.which, NAMES), *PLACES, bundled()]
    return next((place for place in found if place and Path(place).exists()), None)


def ensure() -> str:
    """An installed browser, installing one when there is none. Raises RuntimeError with what each attempt said."""
    reasons = []
    for name, install in INSTALLERS.items():
        if browser := find():
            return browser
        reasons.append(f"{name}: {install()}")
    if browser := find():
        return browser
    raise RuntimeError("\n".join(["No browser: install Chromium or name one in CHROME, or say BROWSER=0.", *reasons]))


def bundled() -> str | None:
    """Where playwright keeps its own browser, whether or not it is there."""
    answer = subprocess.run([sys.executable, "-c", BUNDLED], capture_output=True, text=True)
    return answer.stdout.strip() or None


def by_playwright() -> str:
    """Let playwright download its Chromium; return what it said."""
    return attempt([sys.executable, "-m", "playwright", "install", "chromium"], seconds=90)


def by_apt() -> str:
    """Install Debian's chromium, where we may; return what it said."""
    if not shutil.which("apt-get") or os.getuid() != 0:
        return "needs root on a Debian-like system"
    said = attempt(["apt-get", "update", "-qq"], seconds=120)
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
    return f"{said}; {attempt(command, seconds=400, variables=quiet)}"


def attempt(command: list[str], seconds: float, variables: dict[str, str] | None = None) -> str:
    """Run an installer quietly; return the end of its output."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=variables)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (answer.stderr or answer.stdout).strip()[-300:] or f"ended with {answer.returncode}"


INSTALLERS: dict[str, Callable[[], str]] = {"playwright": by_playwright, "apt": by_apt}
