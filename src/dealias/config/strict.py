"""YAML without its traps: no duplicate keys, no anchors, no tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dealias.errors import SettingsError

MAX_BYTES = 1 << 20


class _Strict(yaml.SafeLoader):  # type: ignore[misc]
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            self._refuse("an alias (*)", "plain values", self.peek_event().start_mark)
        event = self.peek_event()
        if getattr(event, "anchor", None) is not None:
            self._refuse(f"an anchor (&{event.anchor})", "plain values", event.start_mark)
        if getattr(event, "tag", None) is not None:
            self._refuse(f"a tag ({event.tag})", "plain values", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                mark = node.value[position][0].start_mark
                self._refuse(f"key '{key}' twice", "each key once", mark)
        return super().construct_mapping(node, deep)

    def _refuse(self, found: str, expected: str, mark: Any) -> None:
        raise SettingsError(f"{self.name}, line {mark.line + 1}", found, expected)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of plain mappings, lists, texts and numbers.

    Raises:
        SettingsError: It is missing, malformed, or uses what is refused.
    """
    if not path.is_file():
        raise SettingsError(path, "no such file", "a YAML file", "see `dealias recipes`")
    if path.stat().st_size > MAX_BYTES:
        raise SettingsError(path, "over 1 MiB", "a recipe", "")
    with path.open(encoding="utf-8", errors="replace") as file:
        loader = _Strict(file)
        loader.name = str(path)
        try:
            value = loader.get_single_data()
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{path}, line {mark.line + 1}" if mark else str(path)
            raise SettingsError(where, "malformed YAML", "a recipe", "") from None
        finally:
            loader.dispose()
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SettingsError(path, type(value).__name__, "keys and values", "")
    return value


def write_yaml(values: dict[str, Any]) -> str:
    """Plain values as YAML, in their own order."""
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
