"""Fusion: a few learned queries read a whole context, so that what follows costs the same
whatever the context's length."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from embervlm.language import MLP, initialise


class Fusion(nn.Module):
    """One block: the queries attend to the context, then an MLP."""

    def __init__(self, width: int, heads: int, queries: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)  # the context may be hidden states or visual tokens
        self.c_query = nn.Linear(width, width)
        self.c_context = nn.Linear(width, 2 * width)  # keys, values
        self.c_proj = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = MLP(width)
        initialise(self, blocks=1)
        # Parameters need no LayerNorm before them: they start with the variance it would give.
        self.queries = nn.Parameter(torch.randn(queries, width))

    def forward(self, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """context [B,L,D], mask bool [B,L] (True = read it; None = all) -> [B,queries,D]."""
        q = self.c_query(self.queries).unflatten(-1, (self.heads, -1)).transpose(0, 1)
        pair = self.c_context(self.norm(context)).unflatten(-1, (2, self.heads, -1))
        k, v = pair.permute(2, 0, 3, 1, 4).unbind(0)  # each [B,heads,L,D/heads]
        y = scaled_dot_product_attention(
            q.expand(context.shape[0], -1, -1, -1),
            k,
            v,
            attn_mask=None if mask is None else mask[:, None, None, :],
        )
        x = self.queries + self.c_proj(y.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm_mlp(x))
