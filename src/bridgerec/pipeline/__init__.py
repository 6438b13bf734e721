"""The stages of `dvc.yaml` as plain functions."""
