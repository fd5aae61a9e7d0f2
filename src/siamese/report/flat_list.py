"""FlatList: reads the settings that Hydra records of a run, a list of words and nothing else."""

from __future__ import annotations

from typing import Any

import yaml

from siamese.reading import Unreadable


class FlatList(yaml.SafeLoader):  # type: ignore[misc]  # has no types
    """Reads a list of strings, as Hydra writes it; nothing in it stands for something else."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse what can unpack to more than stands in the file, or nest without end."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise Unreadable("it has an alias")
        if parent is not None and isinstance(event, yaml.CollectionStartEvent):
            raise Unreadable("it has a list or a dictionary in it")
        return super().compose_node(parent, index)
