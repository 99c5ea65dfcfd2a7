"""Typed batches: what datamodules hand out and modules read, NamedTuples of tensors with their shapes and units."""
