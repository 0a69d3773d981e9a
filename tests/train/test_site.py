"""What is learnt of a site: against sums written out by hand."""

import math

import pytest
import torch

from manifests.schema import SITE_FACTS, TERRAINS, canonical_json, site_vector
from train.site import SiteHead, in_unit, site_loss

NAN = math.nan


def sites(*facts: dict) -> torch.Tensor:
    return torch.tensor([site_vector(canonical_json({"site": site})) for site in facts])


def test_every_fact_of_free_scenes_lies_in_0_to_1_and_its_ends_are_told_apart() -> None:
    low = {"water_depth_m": 0, "height_m": 0, "slope_deg": 0, "ceiling_m": 0.9, "wind_ms": 0,
           "distance_m": 0, "payload_kg": 0}  # fmt: skip
    high = {"water_depth_m": 40, "height_m": 60, "slope_deg": 38, "ceiling_m": 12, "wind_ms": 22,
            "distance_m": 20_000, "payload_kg": 190}  # fmt: skip
    ends = in_unit(sites(low, high))
    for name in low:
        bottom, top = ends[:, SITE_FACTS.index(name)].tolist()
        assert 0 <= bottom < 0.3, name
        assert 0.9 < top <= 1, name
    depths = in_unit(sites({"water_depth_m": 3.0}))[0, SITE_FACTS.index("water_depth_m")]
    assert float(depths) == pytest.approx(math.log(4) / math.log(41), rel=1e-6)


def test_the_loss_is_the_mean_over_what_is_known_and_none_where_nothing_is() -> None:
    torch.manual_seed(1)
    logits = torch.randn(4, len(SITE_FACTS))
    wanted = sites({"terrain": "mud", "stairs": 1, "light": 0.45}, {}, {"people": 0}, {"rain": 1.0})
    loss = site_loss(logits, wanted)

    def surprise(row: int, name: str, share: float) -> float:
        p = 1 / (1 + math.exp(-float(logits[row, SITE_FACTS.index(name)])))
        told = -share * math.log(p) - (1 - share) * math.log(1 - p)
        sure = sum(s * math.log(s) for s in (share, 1 - share) if s)
        return told + sure

    grounds = logits[0, : len(TERRAINS)].tolist()
    ground = math.log(sum(map(math.exp, grounds))) - grounds[TERRAINS.index("mud")]
    first = (ground + surprise(0, "stairs", 1) + surprise(0, "light", 0.45)) / 3
    rows = [first, 0.0, surprise(2, "people", 0), surprise(3, "rain", 1)]
    assert loss.row_totals.tolist() == pytest.approx(rows, rel=1e-5)
    assert loss.row_counts.tolist() == [1, 0, 1, 1]
    assert float(loss.total) == pytest.approx(sum(rows), rel=1e-5)
    assert float(loss.count) == 3


def test_what_is_unknown_has_no_gradient_and_what_is_exact_no_loss() -> None:
    logits = torch.zeros(2, len(SITE_FACTS), requires_grad=True)
    loss = site_loss(logits, sites({"terrain": "snow", "indoor": 0}, {"light": 0.5, "rain": 0.5}))
    loss.total.backward()
    assert logits.grad is not None
    moved = {SITE_FACTS[at] for at in logits.grad[0].nonzero()[:, 0].tolist()}
    assert moved == {"indoor", *(f"terrain_{ground}" for ground in TERRAINS)}
    assert not logits.grad[1].any()  # a share of one half is what a logit of 0 says
    assert float(loss.row_totals[1]) == pytest.approx(0, abs=1e-6)


def test_the_head_reads_every_token_and_begins_without_an_opinion() -> None:
    head = SiteHead(8)
    assert not head(torch.randn(2, 49, 8)).any()
    torch.nn.init.normal_(head.linear.weight)
    features = torch.randn(1, 49, 8, requires_grad=True)
    head(features).sum().backward()
    assert features.grad is not None
    assert features.grad.abs().sum(2).all()


def test_the_head_learns_what_a_token_says() -> None:
    """Two facts that stand in the features: a step of AdamW at the stage's rate leads there."""
    torch.manual_seed(2)
    head, features = SiteHead(8), torch.randn(64, 49, 8)
    wanted = torch.full((64, len(SITE_FACTS)), NAN)
    wanted[:, SITE_FACTS.index("stairs")] = (features[:, 7, 3] > 0).float()
    wanted[:, SITE_FACTS.index("people")] = (features[:, 30, 1] > 0).float()
    optimiser = torch.optim.AdamW(head.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = site_loss(head(features), wanted)
        (loss.total / loss.count).backward()
        optimiser.step()
        losses.append(float(loss.total.detach() / loss.count))
    assert losses[0] == pytest.approx(math.log(2), rel=1e-5)
    assert losses[-1] < 0.1
