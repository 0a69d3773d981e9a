"""The work that is measured, in numbers: the same for all."""

BATCH = 32  # samples
SIDE = 224  # pixels
TOKENS = 64  # of a caption
WORKERS = 2  # processes or threads
