"""Whether a cache holds what was written to it."""

from __future__ import annotations

from collections.abc import Callable

from dealias.data.cached import Cache, verify
from dealias.data.findings import Finding
from dealias.errors import DataError


def check_cache(cache: Cache, progress: Callable[[int], None]) -> list[Finding]:
    """Read a cache, or the part of one that is meant, from end to end.

    Args:
        cache: Which.
        progress: Called with 1 after each volume.

    Returns:
        One finding a volume: FAIL where bytes are missing or changed; FAIL if volumes are still to
        be made.
    """
    findings = []
    if not cache.manifest.complete:
        found = f"{len(cache.manifest.volumes)} of {cache.manifest.planned} volumes"
        do = "run the same dealias cache again"
        findings.append(Finding("FAIL", str(cache.root), "cache", found, "all of them", do))
    for volume in cache.below():
        path = str(cache.root / volume.file)
        try:
            verify(cache, volume)
        except DataError as error:
            where, found, expected, do = error.args
            item = str(where).removeprefix(f"{path}: ")
            item = volume.source if item == path else item
            findings.append(Finding("FAIL", path, item, found, expected, do))
        else:
            findings.append(Finding("PASS", path, volume.source, "the bytes that were written"))
        progress(1)
    return findings
