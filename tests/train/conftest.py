"""A sealed data set and a stage, small enough to train on in seconds."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import save_file

from embervlm.vision import Encoder
from pipelines import free_scenes
from pipelines.build import build
from pipelines.config import BuildConfig
from pipelines.config import load as load_config
from pipelines.engine import Threads
from pipelines.samples import write_samples
from train import stage as stages
from train.distributed import Place
from train.loop import train

ROOT = Path(__file__).parents[2]
QUIET = Console(quiet=True)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """One thread: sums in one order, so that equal runs are equal to the bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sealed shards of coco, vqav2, gqa and robots."""
    folder = tmp_path_factory.mktemp("data")
    write_samples(folder / "base_vlm", images=40, seed=5)
    config = folder / "build.yaml"
    (folder / "robots").mkdir()
    for path in (ROOT / "robot-selection-dataset").glob("*.json"):
        part = json.loads(path.read_text(encoding="utf-8"))[:150]
        (folder / "robots" / path.name).write_text(json.dumps(part), encoding="utf-8")
    corpora = {"coco": {}, "vqav2": {}, "gqa": {}, "robots": {"path": str(folder / "robots")}}
    config.write_text(yaml.safe_dump({"root": str(folder / "base_vlm"), "corpora": corpora}))
    checked: BuildConfig = load_config(config)
    build(checked, folder / "shards", Threads(2), QUIET)
    return folder / "shards"


@pytest.fixture(scope="session")
def every(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sealed shards of every corpus of full.yaml, drawn."""
    folder = tmp_path_factory.mktemp("every")
    write_samples(folder / "raw", images=120)
    (folder / "robots").mkdir()
    for path in (ROOT / "robot-selection-dataset").glob("*.json"):
        part = json.loads(path.read_text(encoding="utf-8"))[:40]
        (folder / "robots" / path.name).write_text(json.dumps(part), encoding="utf-8")
    overrides = [f"root={folder / 'raw'}", f"corpora.robots.path={folder / 'robots'}"]
    overrides += ["protect.near_duplicates=off", "max_quarantined=0.5"]
    full = load_config(ROOT / "pipelines/configs/full.yaml", overrides)
    build(full, folder / "out", Threads(2), QUIET)
    return folder / "out"


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sealed shards of free scenes."""
    folder = tmp_path_factory.mktemp("scenes")
    (folder / "robots").mkdir()
    (folder / "robots/single_robot_selection.json").write_text("[]")
    free_scenes.build(folder / "out", 80, 5, folder / "robots", False, 2, QUIET)
    return folder / "out"


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an encoder that has seen a picture, in the layout of timm's hub."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(3)
    eye = Encoder("repvit_m0_9.dist_450e_in1k")
    for part in eye.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    squares = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    with torch.no_grad():
        eye(squares.repeat_interleave(56, dim=2).repeat_interleave(56, dim=3))
    tensors = {name: tensor.contiguous() for name, tensor in eye.net.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture
def stage_file(tmp_path: Path, encoder: Path):
    """Writes a stage's YAML; keyword arguments replace its settings."""

    def write(**changed) -> str:
        small = {"layers": 1, "heads": 2, "width": 32, "reasoning_blocks": 1}
        settings = {
            "name": "small",
            "steps": 6,
            "model": {
                "preset": "compact",
                "set": {**small, "encoder_weights": str(encoder), "encoder_frozen": True},
            },
            "trainable": ["projection", "language", "fusion", "reasoning", "robot_head"],
            "sources": {
                "coco": {"weight": 0.5, "turns": "rotate"},
                "vqav2": {"weight": 0.25, "turns": "pack"},
                "robots": {"weight": 0.25, "turns": "one"},
            },
            "objectives": {"language": 1.0, "robots": 0.5},
            "batch": {"global": 4, "pool": 4},
            "max_tokens": 48,
            "optim": {"lr": 3e-3, "warmup": 2},
            "log_steps": 1,
            "save_steps": 3,
            "eval_steps": None,
        }
        path = tmp_path / "stage.yaml"
        path.write_text(yaml.safe_dump({**settings, **changed}))
        return str(path)

    return write


@pytest.fixture
def run(stage_file, data: Path, tmp_path: Path) -> Path:
    """The folder of a run of six steps."""
    place = Place(0, 1, torch.device("cpu"))
    train(stages.load(stage_file()), data, tmp_path / "run", place, QUIET)
    return tmp_path / "run"
