"""What trainable candidates share: losses and batches of sequences."""
