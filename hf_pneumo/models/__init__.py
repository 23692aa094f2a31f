"""Networks: timm classifiers, their tokens and their checkpoints."""
