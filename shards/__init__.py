"""Bytes: records as verified tar shards, and the order in which they are streamed."""
