"""A lean GPT-2: pre-norm blocks, learned positions, the head tied to the token embeddings.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; the tied head: Press and
Wolf 2017 (arXiv:1608.05859). Modules are named as in Hugging Face's GPT-2, so its checkpoints load
name by name.
"""

import json
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from embervlm.hub import locate
from embervlm.weights import FILES, load_strict, read

# Saved by old versions of transformers, or a second copy of the tied head.
_NOT_WEIGHTS = (".attn.bias", ".attn.masked_bias", "lm_head.weight")
# Conv1D layers keep their weights as [in, out]; nn.Linear as [out, in].
_CONV1D = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


class Past:
    """What one layer has read so far: keys and values, each [B,heads,N,D/heads]."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def add(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep what was just read; all keys and values, the new ones last."""
        if self.keys is not None and self.values is not None:
            keys = torch.cat([self.keys, keys], dim=2)
            values = torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values


class Attention(nn.Module):
    """Self-attention of `heads` heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width)  # queries, keys, values
        self.c_proj = nn.Linear(width, width)

    def forward(
        self, x: Tensor, mask: Tensor | None, causal: bool, past: Past | None = None
    ) -> Tensor:
        """[B,L,D] -> [B,L,D]. `mask` bool [B or 1,1,L,N], True = attend; it takes the place of
        causal. N is L, and what `past` holds before it."""
        parts = self.c_attn(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind(0)  # each [B,heads,L,D/heads]
        if past is not None:
            assert mask is not None or past.keys is None, "causal would be of these tokens alone"
            k, v = past.add(k, v)
        y = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal and mask is None)
        return self.c_proj(y.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Linear-GELU-Linear, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.gelu = nn.GELU(approximate="tanh")  # GPT-2's gelu_new
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B,L,D] -> [B,L,D]."""
        return self.c_proj(self.gelu(self.c_fc(x)))


class Block(nn.Module):
    """Attention and MLP, each after a LayerNorm and added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = MLP(width)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        past: Past | None = None,
    ) -> Tensor:
        """[B,L,D] -> [B,L,D]; see Attention for `mask` and `past`."""
        x = x + self.attn(self.ln_1(x), mask, causal, past)
        return x + self.mlp(self.ln_2(x))


def initialise(module: nn.Module, blocks: int) -> None:
    """GPT-2's start: N(0, 0.02), biases 0; what is added to the stream 2 x `blocks` times is
    scaled by 1/sqrt(2 x blocks), so that the stream's variance does not grow with depth."""
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            std = 0.02 / math.sqrt(2 * blocks) if name.endswith("c_proj") else 0.02
            nn.init.normal_(part.weight, std=std)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)


class Language(nn.Module):
    """The language model, from embeddings to final hidden states."""

    def __init__(self, vocab_size: int, positions: int, layers: int, heads: int, width: int):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, width)
        self.wpe = nn.Embedding(positions, width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.heads = heads
        initialise(self, layers)

    def forward(
        self,
        embeddings: Tensor,
        position_ids: Tensor | None = None,
        mask: Tensor | None = None,
        past: list[Past] | None = None,
    ) -> Tensor:
        """[B,L,D], positions int64 [B,L] (None = 0..L-1), mask bool [B,1,L,N] (None = causal)
        -> hidden [B,L,D], after the last LayerNorm. ValueError if L exceeds the positions.

        `past`, one a layer (see `new_past`), makes this a continuation: its N - L earlier tokens
        are attended to as `mask` says, without being read again, and these L are added to it.
        """
        length, most = embeddings.shape[1], self.wpe.num_embeddings
        if length > most:
            raise ValueError(f"a sequence of {length} tokens; the model has {most} positions")
        if position_ids is None:
            position_ids = torch.arange(length, device=embeddings.device)
        x = embeddings + self.wpe(position_ids)
        for number, block in enumerate(self.h):
            x = block(x, mask, causal=True, past=None if past is None else past[number])
        return self.ln_f(x)

    def new_past(self) -> list[Past]:
        """Nothing read yet, by any layer."""
        return [Past() for _ in self.h]

    def logits(self, hidden: Tensor) -> Tensor:
        """[...,D] -> [...,V], by the tied head."""
        return hidden @ self.wte.weight.T

    def load_gpt2(self, source: str) -> None:
        """Weights of a GPT-2 in Hugging Face's layout: a directory, or a hub id, in any precision.

        A smaller vocabulary is grown to ours: each new row is the mean of the old rows plus noise a
        tenth as wide, the same on every machine. Raises ValueError naming the tensors that do not
        fit, or the setting of its config.json that makes it another model.
        """
        path = locate(source, (*FILES, "config.json"))
        if path.is_dir() and (path / "config.json").is_file():
            self._check_config(json.loads((path / "config.json").read_text()), source)
        raw = {name.removeprefix("transformer."): t for name, t in read(path).items()}
        head, rows = raw.get("lm_head.weight"), raw.get("wte.weight")
        if head is not None and rows is not None and not torch.equal(head, rows):
            raise ValueError(f"weights of {source} do not fit: lm_head.weight is not wte.weight")
        tensors = {
            name: tensor.T if name.endswith(_CONV1D) else tensor
            for name, tensor in raw.items()
            if not name.endswith(_NOT_WEIGHTS)
        }
        new = self.wte.num_embeddings - (0 if rows is None else rows.shape[0])
        if rows is not None and rows.ndim == 2 and new > 0:
            noise = torch.randn(new, rows.shape[1], generator=torch.Generator().manual_seed(0))
            grown = rows.float().mean(0) + 0.1 * rows.float().std() * noise
            tensors["wte.weight"] = torch.cat([rows, grown.to(rows.dtype)])
        load_strict(self, tensors, source)

    def _check_config(self, found: dict[str, object], source: str) -> None:
        # What shapes cannot tell: with other heads every tensor fits and every output is wrong.
        expected = {
            "n_head": (self.heads,),
            "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
            "layer_norm_epsilon": (self.ln_f.eps,),
            "scale_attn_weights": (True,),
            "scale_attn_by_inverse_layer_idx": (False,),
        }
        for name, values in expected.items():
            if name in found and found[name] not in values:
                raise ValueError(f"{source}: {name} is {found[name]!r}, expected {values[0]!r}")
