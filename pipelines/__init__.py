"""Raw corpora -> sealed shards."""
