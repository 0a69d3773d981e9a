"""Where things stand once `<image>` has become 49 visual tokens, and who sees whom.

Every shape is known beforehand: a row of T tokens becomes L = T + 48 positions, picture or not, so
nothing waits for the device and no row is handled alone.

    tokens   a b <image> c d        ->   a b v0 v1 ... v48 c d
    tokens   a b c d e              ->   a b c d e . . . . . .      (. = padding, seen by no one)
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Layout(NamedTuple):
    """Index tables between T tokens and L spliced positions; int64 but for `filled`."""

    source: Tensor  # [B,L] into the tokens followed by the visual tokens
    owner: Tensor  # [B,L] the token a position belongs to: `<image>` owns its 49
    filled: Tensor  # [B,L] bool; False = padding
    at: Tensor  # [B,T] a token's position; for `<image>` that of its last visual token


class Sequence(NamedTuple):
    """A spliced batch, read by the language model."""

    hidden: Tensor  # [B,L,D]
    layout: Layout
    real: Tensor  # [B,L] bool
    mask: Tensor | None  # [B,L,L] bool; None = plain causal

    def at(self, positions: Tensor) -> Tensor:
        """positions int64 [B,N] -> the hidden states there, [B,N,D]."""
        return self.hidden.gather(1, positions[..., None].expand(-1, -1, self.hidden.shape[2]))


def lay_out(start: Tensor, tokens: int, visual: int) -> Layout:
    """start int64 [B]: where `<image>` stands, or `tokens` in a row without one."""
    p = start[:, None]
    j = torch.arange(tokens + visual - 1, device=start.device)[None]
    t = torch.arange(tokens, device=start.device)[None]
    before, within = j < p, j < p + visual
    source = torch.where(before, j, torch.where(within, tokens + j - p, j - (visual - 1)))
    owner = torch.where(before, j, torch.where(within, p, j - (visual - 1)))
    return Layout(
        source=source,
        owner=owner.clamp(max=tokens - 1),
        filled=(j < tokens) | (p < tokens),
        at=t + (visual - 1) * (t >= p),
    )


def fill(layout: Layout, tokens: Tensor, visual: Tensor) -> Tensor:
    """tokens [B,T,D] and visual [B,N,D] -> embeddings [B,L,D]; padding is arbitrary."""
    both = torch.cat([tokens, visual.to(tokens.dtype)], dim=1)
    return both.gather(1, layout.source[..., None].expand(-1, -1, both.shape[2]))


def visibility(real: Tensor, thread: Tensor | None) -> Tensor:
    """real bool [B,L], thread int64 [B,L] -> bool [B,L,L]: True where position i attends to j.

    j is real, not after i, and of the shared prefix (thread 0) or of i's own thread. Every position
    also attends to itself, so that padding never divides zero by zero.

    A position's place in its own sequence is how many it attends to, less one: that restarts each
    thread right after the prefix, and skips padding on either side.
    """
    length = real.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=real.device).tril()
    mask = earlier & real[:, None, :]
    if thread is not None:
        key, query = thread[:, None, :], thread[:, :, None]
        mask = mask & ((key == 0) | (key == query))
    return mask | torch.eye(length, dtype=torch.bool, device=real.device)
