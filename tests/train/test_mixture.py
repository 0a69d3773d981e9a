"""What `python -m train.mixture` tells is what a walk over the data and the schedule finds."""

import json
import shutil
from collections import Counter
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
import yaml
from rich.console import Console
from typer.testing import CliRunner, Result

from embervlm import Tokenizer
from shards.reader import Dataset
from shards.ring import Ring
from shards.slot import NO_LOSS
from shards.stream import Stream
from train import checkpoint as checkpoints
from train import mixture, track
from train import stage as stages
from train.distributed import Place
from train.loop import open_stream

ALONE = Place(0, 1, torch.device("cpu"))
MOST = 47  # tokens beside the image's: the stage's max_tokens are 48

QUIET = Console(quiet=True)


def typed(*words: object) -> Result:
    return CliRunner().invoke(mixture.app, [str(word) for word in words])


def shown(*words: object) -> dict[str, Any]:
    result = typed("show", *words, "--json", *(() if "--run" in words else ("--rate", 100)))
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def stream_of(file: str, data: Path) -> Stream:
    return open_stream(stages.load(file), Dataset(data), Tokenizer.load("builtin"), ALONE, QUIET)


def lengths(data: Path, corpus: str) -> list[list[tuple[int, int]]]:
    """(tokens of prompt, of target) of each turn of each record of a corpus's train split."""
    tokenizer = Tokenizer.load("builtin")
    found = []
    for record in Dataset(data).records(corpus, "train"):
        turns = sorted(record.turns, key=lambda turn: turn.thread)
        texts = [[t.kind for t in turns], [t.prompt for t in turns], [t.target for t in turns]]
        found.append([(len(p), len(t)) for p, t in tokenizer.encode_turns(*texts)])
    return found


def learnt(prompt: int, target: int) -> int:
    """Tokens of a target that are left when a turn alone is cut to a row."""
    return max(0, min(target, MOST - prompt))


def test_a_pass_is_what_the_data_set_holds(stage_file, data: Path) -> None:
    sources = shown(stage_file(), "--data", data)["sources"]
    coco, vqav2, robots = (lengths(data, corpus) for corpus in ("coco", "vqav2", "robots"))
    captions = [[learnt(*turn) for turn in record] for record in coco]
    assert sources["coco"]["records"] == sources["coco"]["samples"] == len(coco)
    assert sources["coco"]["turns"] == pytest.approx(len(coco))
    assert sources["coco"]["targets"] == pytest.approx(sum(sum(c) / len(c) for c in captions))
    rows = 0
    for record in vqav2:
        left = -1
        for turn in record:
            if sum(turn) > left:
                rows, left = rows + 1, MOST
            left -= sum(turn)
    assert sources["vqav2"]["samples"] == rows
    assert sources["vqav2"]["turns"] == sum(map(len, vqav2))
    assert sources["vqav2"]["targets"] == sum(learnt(*turn) for record in vqav2 for turn in record)
    turns = [turn for record in robots for turn in record]
    assert sources["robots"]["records"] == len(robots)
    assert sources["robots"]["samples"] == sources["robots"]["turns"] == len(turns)
    assert sources["robots"]["targets"] == sum(learnt(*turn) for turn in turns)
    assert sources["robots"]["truncated"] == sum(sum(turn) > MOST for turn in turns) > 0


@pytest.mark.parametrize("exhausted", ["repeat", "stop", "drop"])
def test_a_run_is_what_a_walk_over_the_schedule_finds(exhausted: str, stage_file, data) -> None:
    file = stage_file(mixing={"exhausted": exhausted}, steps=160)
    told, stream = shown(file, "--data", data), stream_of(file, data)
    if exhausted == "stop":
        assert told["steps"] == stream.steps
        assert told["steps"] < 160
    assert told["ends"] == (told["steps"] == stream.steps)
    drawn, seen = Counter(), {name: Counter() for name in stream.names}
    repeats: dict[str, int] = {}
    whole: dict[str, int] = {}
    for step in range(told["steps"]):
        (positions,) = stream.positions(step, 0, 1)
        rows = stream.rows(positions)
        for place, number in enumerate(rows.fields["corpus"].tolist()):
            name, sample = stream.names[number], int(rows.sample[place])
            drawn[name] += 1
            seen[name][sample] += 1
            if seen[name][sample] == 2:
                repeats.setdefault(name, step)
            if len(seen[name]) == told["sources"][name]["samples"]:
                whole.setdefault(name, step)
    assert told["samples"] == sum(drawn.values())
    assert set(told["sources"]) == set(stream.names)
    assert repeats if exhausted == "repeat" else not repeats
    assert whole
    for name, source in told["sources"].items():
        assert source["drawn"] == drawn[name]
        assert source["passes"] == pytest.approx(drawn[name] / source["samples"])
        assert (source["repeats"], source["whole"]) == (repeats.get(name), whole.get(name))
        assert source["drawn_targets"] == pytest.approx(source["passes"] * source["targets"])
        assert source["rounded"] == source["share"] / told["period"]
    assert sum(s["target_share"] for s in told["sources"].values()) == pytest.approx(1)
    assert told["hours"] == pytest.approx(told["samples"] / 100 / 3600)
    text = typed("show", file, "--data", data, "--rate", 100).stdout
    for name, source in told["sources"].items():
        line = next(line for line in reversed(text.splitlines()) if line.startswith(name))
        assert line.split()[-1] == ("never" if source["repeats"] is None else str(repeats[name]))
    assert f"exhausted: {exhausted}; " in text
    if exhausted != "repeat":
        assert all(f"{name} in step {step}" in text for name, step in whole.items())


def test_whole_passes_draw_their_target_tokens_exactly(stage_file, data: Path) -> None:
    sources = {"vqav2": {"turns": "pack"}}
    file = stage_file(sources=sources, objectives={"language": 1.0}, batch={"global": 1, "pool": 1})
    told = shown(file, "--data", data, "--set", "steps=null", "--set", "passes=2")
    assert told["sources"]["vqav2"]["passes"] == 2
    rows = stream_of(file, data).rows(np.arange(told["samples"]))
    assert told["targets"] == (rows.fields["labels"] != NO_LOSS).sum()


def test_shares_are_asked_in_numbers_and_rounded(stage_file, data: Path) -> None:
    sources = {"coco": {"weight": 2**0.5, "turns": "rotate"}, "vqav2": {"turns": "pack"}}
    told = shown(stage_file(sources=sources, objectives={"language": 1.0}), "--data", data)
    coco = told["sources"]["coco"]
    assert coco["asked"] == pytest.approx(2**0.5 / (1 + 2**0.5))
    assert told["period"] == 65_536
    assert coco["share"] == round(65_536 * coco["asked"])


def test_the_rate_is_given_logged_or_the_loaders(stage_file, data, run: Path, monkeypatch) -> None:
    given = shown(stage_file(), "--data", data)["rate"]
    assert given == {"samples_per_s": 100, "of": "as given"}
    logged = shown(stage_file(), "--data", data, "--run", run)["rate"]
    rates = sorted(line["samples_per_s"] for line in track.read(run))
    assert logged["samples_per_s"] == pytest.approx((rates[2] + rates[3]) / 2)
    assert logged["of"] == f"the median of 6 logged lines of {run}"
    monkeypatch.setattr(mixture, "_SECONDS", 0.1)
    for override in ("steps=6", "mixing.exhausted=stop", "batch={global: 4000, pool: 4000}"):
        once = ["--set", override, "--set", "optim.warmup=0", "--set", "mixing.exhausted=stop"]
        result = typed("show", stage_file(), "--data", data, "--json", *once)
        assert result.exit_code == 0, result.stderr
        measured = json.loads(result.stdout)["rate"]
        assert measured["samples_per_s"] > 10
        assert measured["of"].startswith("the loader alone on this machine")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rate", "5", "--run", "x"], "--rate and --run both say how fast it goes"),
        (["--rate", "0"], "--rate 0: expected more than 0 samples/s"),
        (["--run", "nowhere"], "nowhere/log.jsonl has no step; give another run, or --rate"),
        (["--set", "sources.okvqa={}"], "leave it out with --set sources.okvqa=null"),
        (["--set", "optim.warmup=6"], "the learning rate would never reach its peak"),
        (["--set", "model.set.tokenizer=./none"], "./none does not exist. Name a folder that has"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_shown_is_a_sentence(words, message, stage_file, data: Path) -> None:
    result = typed("show", stage_file(), "--data", data, *words)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("not shown: ")
    assert message in result.stderr.replace("\n", " ")


def replayed(run: Path, data: Path, step: int) -> list[dict[str, Any]]:
    result = typed("replay", "--run", run, "--step", step, "--data", data, "--json")
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_replay_is_what_the_ring_filled(run: Path, data: Path, stage_file) -> None:
    stream, tokenizer = stream_of(stage_file(), data), Tokenizer.load("builtin")
    logged = {line["step"]: line["drawn"] for line in track.read(run)}
    with Ring(stream, range(6)) as ring:
        for step, (slot,) in ring:
            lines = replayed(run, data, step)
            assert [line["position"] for line in lines] == list(range(step * 4, step * 4 + 4))
            names = [stream.names[number] for number in slot.corpus]
            assert [line["source"] for line in lines] == names
            assert logged[step] == {name: names.count(name) for name in stream.names}
            for place, (line, name) in enumerate(zip(lines, names, strict=True)):
                assert (line["step"], line["pool"]) == (step, 0)
                assert line["record"] == slot.record[place]
                assert line["key"] == stream.key_of(name, int(slot.record[place]))
                assert line["shard"].startswith(f"{name}/{name}-train-")
                turns = [turn for turn in line["turns"] if turn["learnt"]]
                texts = [[t[part] for t in turns] for part in ("kind", "prompt", "target")]
                ids = [i for _, target in tokenizer.encode_turns(*texts) for i in target]
                labels = slot.labels[place][slot.labels[place] != NO_LOSS].tolist()
                assert labels == ids[: len(labels)]
                assert len(labels) == len(ids) or name == "robots", "robots' turns are cut"


def test_a_checkpoint_knows_steps_to_come_and_their_pools(run, data, stage_file) -> None:
    assert replayed(run / "checkpoint-000003", data, 5) == replayed(run, data, 5)
    third = run / "checkpoint-000003"
    known = checkpoints.read_state(third)
    smaller = {**known.stage, "batch": {"global": 4, "pool": 2}}
    checkpoints.rewrite_state(third, msgspec.structs.replace(known, stage=smaller))
    lines = replayed(run / "checkpoint-000003", data, 5)
    assert [line.pop("pool") for line in lines] == [0, 0, 1, 1]
    assert lines == [{k: v for k, v in x.items() if k != "pool"} for x in replayed(run, data, 5)]


def test_replay_prints_a_line_a_position(run: Path, data: Path) -> None:
    head, *lines = typed("replay", "--run", run, "--step", 2, "--data", data).stdout.splitlines()
    assert " ".join(head.split()) == "position pool source pass sample shard key turns learnt"
    for line, one in zip(lines, replayed(run, data, 2), strict=True):
        expected = [one[name] for name in ("position", "pool", "source", "pass", "sample")]
        assert line.split()[:7] == [*map(str, expected), one["shard"], one["key"]]
        assert one["turns"][0]["id"] in line
        assert one["turns"][0]["target"][:40] in line


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"root": "0" * 64}, "on the data set with root 000000000000; {data} has root"),
        ({"tokenizer": "0" * 64}, "with tokenizer 000000000000; 'builtin' is now"),
    ],
)
def test_another_data_set_or_tokenizer_is_not_replayed(run, data, changed, message) -> None:
    last = run / "checkpoint-000006"
    state = msgspec.structs.replace(checkpoints.read_state(last), **changed)
    checkpoints.rewrite_state(last, state)
    result = typed("replay", "--run", run, "--step", 0, "--data", data)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"not replayed: {run}/checkpoint-000006 was trained ")
    assert message.format(data=data) in result.stderr


def test_a_step_that_is_none_and_a_run_that_is_none(run: Path, data: Path, tmp_path: Path) -> None:
    for step in (-1, 6):
        result = typed("replay", "--run", run, "--step", step, "--data", data)
        assert result.exit_code == 1
        assert f"not replayed: --step {step}: {run} has steps 0 to 5\n" in result.stderr
    result = typed("replay", "--run", tmp_path / "none", "--step", 0, "--data", data)
    assert result.exit_code == 1
    assert "none is not a checkpoint: " in result.stderr


def test_replay_takes_the_mixture_of_the_checkpoint(run: Path, data: Path) -> None:
    last = checkpoints.found(run)[-1]
    known = checkpoints.read_state(last)
    parts = known.mixture.parts.items()
    alike = {name: msgspec.structs.replace(part, share=1) for name, part in parts}
    mixture = msgspec.structs.replace(known.mixture, parts=alike)
    checkpoints.rewrite_state(last, msgspec.structs.replace(known, mixture=mixture))
    assert {line["source"] for line in replayed(run, data, 0)[:3]} == {"coco", "vqav2", "robots"}


def test_a_bar_tells_of_caches_that_are_made(stage_file, data: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(data, tmp_path / "copy", ignore=shutil.ignore_patterns("tokens"))
    said = StringIO()
    console = Console(file=said, force_terminal=True, width=100)
    mixture._open(stages.load(stage_file()), str(copy), console)
    for name in ("coco", "vqav2", "robots"):
        assert f"tokens of {name}" in said.getvalue()


def test_export_gives_the_rounded_shares(stage_file, data: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(data, tmp_path / "copy")
    out = tmp_path / "blend.yaml"
    result = typed("export", stage_file(), "--data", copy, "--out", out)
    assert result.exit_code == 0, result.stderr
    blend = yaml.safe_load(out.read_text())["splits"]["train"]["blend"]
    assert {part["subflavors"]["source"]: part["weight"] for part in blend} == {
        "coco": 2, "vqav2": 1, "robots": 1,
    }  # fmt: skip
    assert f"{out}: weights coco 2, robots 1, vqav2 1\n" in result.stdout
    assert "not in it: Shares: weights are shares of samples." in result.stderr
    result = typed("export", stage_file(), "--data", copy, "--out", copy / "blend.yaml")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"not exported: --out {copy}/blend.yaml lies in the data set")
