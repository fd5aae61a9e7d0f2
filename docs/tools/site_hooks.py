"""What MkDocs cannot know: pages of the reference, and files that lie outside of docs/.

MkDocs calls the ``on_...`` functions (``hooks`` in mkdocs.yml). Documents link to each other by
paths of the repository, so that they are read on a forge, too; here these become links of the site.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parent))

from public_names import file_name, groups
from site_links import PAGES, ROOT, site_link

# Files that documents link to, and that readers download.
DOWNLOADS = ("notebooks/*.ipynb", "examples/*/*", "LICENSE")
_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def on_config(config: Any) -> Any:
    """Put the reference's pages where the navigation says ``Reference: generated``."""
    pages = [{"Overview": "reference/index.md"}]
    pages += [{_title(group): f"reference/{file_name(group)}"} for group in groups()]
    config.nav = [{"Reference": pages} if "Reference" in entry else entry for entry in config.nav]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the reference, the documents outside of docs/, and what readers download."""
    generated = {
        f"reference/{file_name(g)}": _group_page(g, names) for g, names in groups().items()
    }
    generated["reference/index.md"] = _overview()
    for source, page in PAGES.items():
        if page.startswith("generated/"):
            generated[page] = (ROOT / source).read_text(encoding="utf-8")
    for name, text in generated.items():
        files.append(File.generated(config, name, content=text))
    for pattern in DOWNLOADS:
        for path in ROOT.glob(pattern):
            name = f"files/{path.relative_to(ROOT).as_posix()}"
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    here = page.file.src_uri
    return _LINK.sub(lambda m: m[1] + site_link(m[2], here) + m[3], markdown)


def _title(group: str) -> str:
    return group[0].upper() + group[1:]


def _group_page(group: str, names: dict[str, str]) -> str:
    parts = [f"# {_title(group)}\n"]
    for name, path in names.items():
        if foreign := imported_from(path):
            parts.append(
                f"## siamese.{name} {{#siamese.{name}}}\n\n`{foreign}` itself, by a shorter name; "
                "its own documentation describes it.\n"
            )
            continue
        if name.isupper():
            kinds = name.lower().replace("_", " ")
            parts.append(
                f"## siamese.{name} {{#siamese.{name}}}\n\n"
                f"The registry of {kinds}: names, by which bundles, checkpoints and settings know "
                f"them, to classes. `sorted(siamese.{name})` lists the names; "
                f'`@siamese.{name}.register("a_name")` above a class of yours enters it '
                "([extending](../extending.md)).\n"
            )
            continue
        parts.append(
            f"[](){{#siamese.{name}}}\n\n::: {path}\n    options:\n      heading: siamese.{name}\n"
            f"      toc_label: {name}\n"
        )
    return "\n".join(parts)


def imported_from(path: str) -> str | None:
    """The name by which another package knows what is public here; None for what is our own.

    >>> imported_from("siamese.training.seeding.seed_everything")
    'pytorch_lightning.seed_everything'
    """
    module, _, name = path.rpartition(".")
    file = ROOT / "src" / Path(*module.split("."))
    file = file.with_suffix(".py") if file.with_suffix(".py").exists() else file / "__init__.py"
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return f"{node.module}.{name}"
    return None


def _overview() -> str:
    parts = [
        "# Reference\n",
        "Every public name of `siamese`. All are loaded when they are first used, so that "
        "`import siamese` is quick. What is not listed here may change without notice "
        "([what is stable](../stability.md)).\n",
    ]
    for group, names in groups().items():
        links = " · ".join(f"[`{n}`]({file_name(group)}#siamese.{n})" for n in names)
        parts.append(f"**[{_title(group)}]({file_name(group)})**\n\n{links}\n")
    return "\n".join(parts)
