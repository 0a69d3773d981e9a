"""The work on one sample, for every peer: a JPEG decoded, a caption tokenised."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
import torch
from sizes import SIDE, TOKENS
from tokenizers import Tokenizer

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # workers are forked from a process that has used it
cv2.setNumThreads(1)
torch.set_num_threads(1)

TOKENIZER = Path(__file__).parents[3] / "embervlm/tokenizer.json"
_tokenizer = Tokenizer.from_file(str(TOKENIZER))
_tokenizer.enable_truncation(TOKENS)
_pad = _tokenizer.token_to_id("<pad>")
_tokenizer.enable_padding(length=TOKENS, pad_id=_pad, pad_token="<pad>")


def _fast(jpeg: bytes) -> np.ndarray:
    """DCT-scaled to no less than SIDE, then resized."""
    pixels = simplejpeg.decode_jpeg(jpeg, "RGB", min_width=SIDE, min_height=SIDE, min_factor=1)
    if pixels.shape[:2] == (SIDE, SIDE):
        return pixels
    return cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


# "fast" gives [3, SIDE, SIDE], as users of these libraries mostly do and as they were compared
# before; a batch is then collated channel by channel. "fast, HWC" gives what the decoder wrote.
DECODERS: dict[str, Callable[[bytes], torch.Tensor]] = {
    "fast": lambda jpeg: torch.from_numpy(_fast(jpeg)).permute(2, 0, 1),
    "fast, HWC": lambda jpeg: torch.from_numpy(_fast(jpeg)),
}


def tokens(said: bytes | dict[str, Any]) -> torch.Tensor:
    """The first caption of a record, from its JSON, read or not."""
    record = said if isinstance(said, dict) else json.loads(said)
    return torch.tensor(_tokenizer.encode(record["turns"][0]["target"]).ids)
