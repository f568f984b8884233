"""Make `docs/images/report.png`: the top of a real report, as headless Chromium shows it.

    python docs/screenshot.py [REPORT.html]

Without an argument it takes the newest report below `.recycle/runs`. `make demo` makes two; the picture is of
the first, whose title ends in `release-2`.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "report.png"
WIDTH, HEIGHT = 1080, 1290
COLOURS = 128
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def newest() -> Path:
    """The newest report of a run on this machine."""
    reports = sorted((ROOT / ".recycle" / "runs").glob("*/report.html"), key=lambda path: path.stat().st_mtime)
    return reports[-1] if reports else sys.exit("there is no report below .recycle/runs: run `make demo`, or name one")


def main() -> None:
    """Take the picture, with few colours so that it stays small."""
    report = Path(sys.argv[1]) if len(sys.argv) > 1 else newest()
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        sys.exit(f"none of {', '.join(PROGRAMS)} is installed")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "report.png"
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={shot}"]
        subprocess.run([*command, report.resolve().as_uri()], check=True, capture_output=True, timeout=120)
        PICTURE.parent.mkdir(exist_ok=True)
        with Image.open(shot) as picture:
            picture.convert("RGB").quantize(COLOURS).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
