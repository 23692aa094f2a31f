"""Collections: X-rays with labels, patients and splits, as `datasets.Dataset`s of one shape."""
