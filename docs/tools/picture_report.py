"""Take the picture of a report that the README shows: its verdict and two of its charts.

    siamese evaluate pretrained --data lfw --out pretrained
    python docs/tools/picture_report.py pretrained/report.html docs/images/report.png

`lfw` is a folder of people; names stand in the galleries only, which the picture leaves out. It
needs playwright, Pillow and the system's chromium.
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

SHOWN = ("verdict", "distances", "errors")
WIDTH = 980


def main() -> None:
    """Read the arguments, and write the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": 800})
        page.goto(args.report.resolve().as_uri())
        page.evaluate(
            """shown => {
                for (const part of document.querySelectorAll("main section"))
                    if (!shown.includes(part.id)) part.remove();
                const charts = document.querySelectorAll("main figure");
                charts.forEach((chart, place) => place > 1 && chart.remove());
                charts[0].after(charts[1]);
                document.querySelector("main section:last-of-type").remove();
                document.querySelector("nav").remove();
                document.querySelectorAll("main section h2").forEach(
                    (title, place) => place > 0 && title.remove());
            }""",
            list(SHOWN),
        )
        taken = Image.open(io.BytesIO(page.screenshot(full_page=True)))
        browser.close()
    args.picture.parent.mkdir(parents=True, exist_ok=True)
    taken.convert("P", palette=Image.Palette.ADAPTIVE, colors=256).save(args.picture, optimize=True)


if __name__ == "__main__":
    main()
