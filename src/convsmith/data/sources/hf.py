"""A data set of Hugging Face: `hf:NAME[:CONFIG]`, a saved folder, or Parquet files that hold images."""

from __future__ import annotations

from functools import partial

from convsmith.data.hf.find_hf import is_hf
from convsmith.data.hf.hf_table import open_hf, task_of_hf
from convsmith.data.source import Source
from convsmith.data.tables.table_data import openers
from convsmith.data.tables.unlabelled import images_of_table

SOURCE = Source(is_hf, openers(open_hf, ("columns",)), task_of=task_of_hf, images=partial(images_of_table, open_hf))
