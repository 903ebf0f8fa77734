"""Pages in a real browser without a window."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["shown"]


def shown(folder: Path, page: str, width: int, wanted: str) -> list[int]:
    """Open a page in a frame of that width; the whole numbers of a JavaScript list, in which `d` is its document."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    # The page within a frame of the wanted width: headless chromium does not make its window narrower than 500.
    probe = (
        f'<iframe id="f" src="page.html" style="width:{width}px;height:900px;border:0"></iframe><script>'
        "window.onload=function(){const d=document.getElementById('f').contentDocument;"
        f"document.title={wanted}.join(' ')}}</script>"
    )
    (folder / "probe.html").write_text(probe, encoding="utf-8")
    found = subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
            f"--user-data-dir={folder}/profile", "--virtual-time-budget=5000", "--dump-dom",
            (folder / "probe.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    title = found.stdout[found.stdout.index("<title>") + 7 : found.stdout.index("</title>")]
    return [int(part) for part in title.split()]
