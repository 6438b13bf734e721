"""Hyper-parameter search on the validation part, and its result as a change of params.yaml."""
