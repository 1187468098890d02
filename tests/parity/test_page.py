"""docs/parity.md says what the golden files hold, and names tests that exist."""

from __future__ import annotations

import re

from parity_page import PAGE, ROOT, page

NAMED = re.compile(r"`(tests/[^`]+\.py)::(\w+)`")


def test_the_table_is_the_one_that_the_files_make() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"


def test_what_shows_a_difference_is_there() -> None:
    named = NAMED.findall(PAGE.read_text())
    assert len(named) > 12
    for path, name in named:
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE), name
