"""What exists: the schema of records, where each is placed, and the sealed list of them."""
