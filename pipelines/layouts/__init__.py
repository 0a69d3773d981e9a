"""How annotations and images lie on disk: the layouts that several corpora share."""
