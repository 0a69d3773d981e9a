"""Sealed shards -> a trained, judged model."""
