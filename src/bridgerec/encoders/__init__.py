"""Pretrained models to vectors: encoders, their cache, and whitening."""
