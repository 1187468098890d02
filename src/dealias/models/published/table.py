"""The table of kinds of published weights."""

from __future__ import annotations

from dealias.models.published import fastmri
from dealias.table import Table

PUBLISHED = Table("published weights", (fastmri.UNET, fastmri.VARNET))
