"""Learning: a labelled collection of X-rays becomes a trained checkpoint folder."""
