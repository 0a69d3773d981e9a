"""A run on Weights & Biases: what is logged under which key, and nothing of the machine it runs on.

Training never depends on it: whatever fails there is said once, and the run goes on without.
"""

import netrc
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
import torch

from manifests import store
from train.energy import Spent
from train.stage import Stage

# All of a stage, and of what else is known of its run, that is told.
_SETTINGS = ("name", "sources", "objectives", "batch", "max_tokens", "model", "trainable")
_SETTINGS += ("vision_only", "robot_loss", "lora", "teacher", "optim", "steps", "passes", "mixing")
_SETTINGS += ("seed", "precision", "compile", "log_steps", "save_steps", "eval_steps")
_SETTINGS += ("eval_samples",)
_FACTS = ("parameters", "trained", "ranks", "device", "root", "steps")
_PRIVATE = {
    "save_code": False,
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "console": "off",
    "host": "",
    "program": "train/run.py",
    "x_executable": "",
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}
_START_S, _FINISH_S = 30, 15  # a run that is asked to end has half a minute for all it must do
# Objectives by their names in W&B's keys, where these are others.
_LOSSES = {"language": "lm", "robots": "robot", "contrast": "contrastive", "distil": "distillation"}


def logged(stage: str, line: Mapping[str, Any]) -> dict[str, float]:
    """A log line as `<stage>/<key>`, without what it lacks."""
    told = {
        "loss": line["loss"],
        "learning_rate": line["lr"],
        "samples_per_second": line["samples_per_s"],
        "gpu_wait": line["wait"],
        "gradient_norm": line.get("gradient_norm"),
        "gpu_memory_gb": line.get("memory_gb"),
    }
    for objective, loss in line["objectives"].items():
        told[f"{_LOSSES.get(objective, objective)}_loss"] = loss
    for source, loss in line["sources"].items():
        told[f"{source}/loss"] = loss
    for source, share in line["mixture"].items():
        told[f"{source}/share_asked"] = share["asked"]
        told[f"{source}/share_realised"] = share["realised"]
    return _keys(stage, told)


def judged(stage: str, result: Mapping[str, Any]) -> dict[str, float]:
    """What a validation found as `<stage>/<key>`: numbers of robots by their names."""
    told = {"val_loss": result["loss"], "val_score": result["score"]}
    for source, each in result["sources"].items():
        told[f"{source}/val_loss"] = each["loss"]
    for name, value in (result["robots"] or {}).items():
        if name == "per_robot":
            for robot, scores in value.items():
                for score, number in scores.items():
                    told[f"{robot.replace(' ', '_')}_{score}"] = number
        elif isinstance(value, dict):
            told[f"{name}_accuracy"] = value.get("accuracy")
        elif name != "records":
            told[name] = value
    return _keys(stage, told)


def spent(stage: str, energy: Spent | None) -> dict[str, float]:
    """The energy taken so far as `<stage>/<key>`."""
    if energy is None:
        return {}
    kwh, kg = energy.per_million or (None, None)
    told = {"energy_kwh": energy.kwh, "emissions_kg_co2": energy.kg_co2}
    told |= {"energy_kwh_per_million_samples": kwh, "emissions_kg_co2_per_million_samples": kg}
    return _keys(stage, told)


def _keys(stage: str, told: Mapping[str, Any]) -> dict[str, float]:
    return {f"{stage}/{k}": v for k, v in told.items() if isinstance(v, int | float)}


def config(stage: Stage, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What W&B is told of a run, by a list of what may be told. Of a path its last part is left."""
    settings = msgspec.to_builtins(stage)
    told = {name: settings[name] for name in _SETTINGS}
    told["run"] = {name: facts[name] for name in _FACTS if name in facts}
    return _without_paths({**told, "torch": torch.__version__})


def _without_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_paths(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_paths(each) for each in value]
    return PurePath(value).name if isinstance(value, str) and os.sep in value else value


class WandbRun:
    """One run, under the id that `run/wandb.json` keeps, so that a later start goes on with it."""

    def __init__(
        self, stage: Stage, facts: Mapping[str, Any], folder: Path, say: Callable[[str], None]
    ) -> None:
        self._prefix, self._say = stage.name, say
        self._run = self._open(stage, config(stage, facts), folder)

    def log(self, step: int, values: Mapping[str, Any], figures: Mapping[str, Path]) -> None:
        """Numbers, and pictures (PNG or SVG) by name, of the run when `step` steps are done."""
        if self._run is None:
            return
        try:
            pictures = {f"{self._prefix}/{name}": _picture(path) for name, path in figures.items()}
            self._run.log({f"{self._prefix}/step": step, **values, **pictures})
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
            self._give_up(error)

    def close(self, failed: bool) -> None:
        """Send what is left; the run is marked as failed or finished."""
        if self._run is None:
            return
        try:
            self._run.finish(exit_code=int(failed))
        except Exception as error:  # noqa: BLE001 - as above
            self._give_up(error)
        self._run = None

    def _open(self, stage: Stage, told: dict[str, Any], folder: Path) -> Any:
        if stage.wandb is None or _switched_off():
            return None
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # of its own defects, to its maker
        try:
            import wandb
        except ImportError:
            self._say(
                "wandb is not installed, so nothing is logged there: pip install 'embervlm[track]'"
            )
            return None
        try:
            if (mode := _mode()) == "disabled":
                return None
            if mode == "online":
                try:
                    run = _init(stage, told, folder, "online")
                    self._say(f"Weights & Biases: {run.url}")
                    return run
                except wandb.Error as error:
                    self._say(f"Weights & Biases cannot be reached: {_sentence(error)}")
                    wandb.teardown()  # its service would hold the run's id
            run = _init(stage, told, folder, "offline")
        except Exception as error:  # noqa: BLE001 - as above
            self._give_up(error)
            return None
        self._say(
            f"Weights & Biases is offline, as it has no key, is told so or cannot be reached; log "
            f"in with: wandb login, and send with: wandb sync {folder}/wandb/offline-run-*"
        )
        return run

    def _give_up(self, error: Exception) -> None:
        self._run = None
        self._say(f"Weights & Biases fails, and training goes on without it: {_sentence(error)}")


def _init(stage: Stage, told: dict[str, Any], folder: Path, mode: Literal["online", "offline"]):
    import wandb

    settings = wandb.Settings(
        mode=mode, silent=True, init_timeout=_START_S, finish_timeout=_FINISH_S, **_PRIVATE
    )
    run = wandb.init(
        project=stage.wandb,
        name=stage.name,
        id=_identity(folder / "wandb.json"),
        resume="allow",
        dir=str(folder),
        config=told,
        settings=settings,
    )
    # W&B's own step may never go back; that of a run which goes on from a checkpoint does.
    run.define_metric(f"{stage.name}/step")
    run.define_metric(f"{stage.name}/*", step_metric=f"{stage.name}/step")
    return run


def _picture(path: Path) -> Any:
    import wandb

    if path.suffix == ".svg":
        return wandb.Html(path.read_text(encoding="utf-8"), inject=False)
    return wandb.Image(str(path))


def _sentence(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _switched_off() -> bool:
    return os.environ.get("DISABLE_WANDB", "").lower() not in ("", "0", "false", "no")


def _mode() -> Literal["online", "offline", "disabled"]:
    """As the user has set W&B up, but offline where it has no key: it would ask for one."""
    import wandb

    asked = wandb.setup().settings
    if asked.mode in ("offline", "dryrun", "disabled"):
        return "disabled" if asked.mode == "disabled" else "offline"
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return "online"
    # `wandb login` keeps the key of W&B's own server under its older name.
    own = asked.base_url == wandb.Settings().base_url
    host = "api.wandb.ai" if own else urlsplit(asked.base_url).netloc
    try:
        known = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return "offline"
    return "online" if known else "offline"


def _identity(path: Path) -> str:
    """The id of a run: the one that is kept at `path`, or a new one that is kept from now on."""
    if not path.exists():
        store.write(path, msgspec.json.encode({"id": secrets.token_hex(4)}) + b"\n")
    return msgspec.json.decode(path.read_bytes(), type=dict[str, str])["id"]
