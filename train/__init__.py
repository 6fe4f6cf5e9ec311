"""Training of the three networks: data in, checkpoints, curves, sheets and shipped weights out."""
