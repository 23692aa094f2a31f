"""Measurement: logits become predictions, predictions become figures with intervals, and nothing else does."""
