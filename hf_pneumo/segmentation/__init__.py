"""Training and measurement of the lungs' segmenter, whose exported graph `imaging.lungs` runs without torch."""
