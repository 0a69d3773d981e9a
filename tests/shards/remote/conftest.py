"""An S3 server with two data sets in it, and a way to it that can be made to misbehave."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manifests.schema import Record
from manifests.seal import Seal, Shard
from shards import origin
from tests.shards.remote.server import KEYS, Proxy, S3Server, as_user, hang_up, program, s3_server

BIG = 700_000  # bytes of a shard of `big`, about


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    if program() is None:
        pytest.skip("there is no SeaweedFS for this system")
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def put(s3: S3Server) -> Callable[[Path, str], None]:
    """put(file or folder, "bucket/name")"""
    import s3fs

    options: dict[str, Any] = {"key": "writer", "secret": KEYS["writer"]}
    files = s3fs.S3FileSystem(endpoint_url=s3.endpoint, skip_instance_cache=True, **options)

    def copy(source: Path, to: str) -> None:
        bucket = to.partition("/")[0]
        if not files.exists(bucket):
            files.mkdir(bucket)
        for path in [source] if source.is_file() else source.rglob("*"):
            if path.is_file():
                files.pipe_file(
                    f"{to}/{path.relative_to(source)}".removesuffix("/."), path.read_bytes()
                )

    return copy


@pytest.fixture(scope="session")
def big(
    tmp_path_factory: pytest.TempPathFactory,
    make_record: Callable[..., Record],
    write_shard: Callable[..., Shard],
    seal_shards: Callable[..., Seal],
) -> Path:
    """A sealed data set of four shards of about BIG bytes, which no one could decode."""
    out = tmp_path_factory.mktemp("big")
    noise = np.random.default_rng(7)
    shards = [
        write_shard(out, [make_record("coco", number, image=noise.bytes(BIG))], f"{number:05d}")
        for number in range(4)
    ]
    seal_shards(out, shards)
    return out


@pytest.fixture(scope="session")
def sealed(whole: Path, big: Path, put: Callable[[Path, str], None]) -> None:
    put(whole, "data/whole")
    put(big, "data/big")


@pytest.fixture
def proxy(s3: S3Server, sealed: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The way to the server, for who reads s3:// in this process or in one that it starts."""
    with Proxy(s3.port) as way:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_ENDPOINT_URL", way.endpoint)
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setattr(origin, "PAUSE", 0.01)
        as_user(monkeypatch, "reader")
        yield way
        hang_up()
