"""listing.yaml: what may be listed, and that what ships can be fetched as it stands."""

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from manifests.settings import SettingsError
from pipelines.download import listing
from pipelines.download.listing import ListingError
from pipelines.download.web import Policy, WebError


def test_the_listing_that_ships_is_whole():
    shipped = listing.load()
    policy = Policy(shipped.hosts)
    for minimal in (False, True):
        for images in (False, True):
            wanted = listing.downloads(shipped, (), minimal, images)
            assert len({one.to for one in wanted}) == len(wanted)
            assert all(one.nbytes or one.about for one in wanted)
    everything = [one for files in shipped.corpora.values() for one in files]
    for one in everything:
        policy.check(httpx.URL(one.url))
    asked = {urlsplit(one.url).hostname for one in everything}
    redirected = {"*.hf.co"} | {f"cdn-lfs{of}.huggingface.co" for of in ("", "-us-1", "-eu-1")}
    assert set(shipped.hosts) == asked | redirected
    assert len(listing.downloads(shipped, ["cc3m"], False, False)) == 592
    coco = listing.downloads(shipped, ["coco"], True, False)
    assert [one.to for one in coco] == ["coco/annotations_trainval2017.zip", "coco/val2017.zip"]


def test_only_https_and_listed_hosts_can_be_asked_from_the_command_line():
    policy = Policy(listing.load().hosts)
    for url in ("http://huggingface.co/x", "https://127.0.0.1/x", "https://hf.co.evil.net/x"):
        with pytest.raises(WebError, match="is not asked"):
            policy.check(httpx.URL(url))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"to": "../x"}, "llava: to '../x' leads out of the root"),
        ({"to": "/x"}, "llava: to '/x' leads out of the root"),
        ({"to": "a-{00..02}"}, "https://a.example/x and a-{00..02} are not equally many files"),
        ({"sha256": "abc"}, "is the text 'abc'; expected text matching regex"),
        ({"extract": "rar"}, "extract is the text 'rar'; expected zip, tar or null"),
        ({"nbytes": 0}, "nbytes is the number 0; expected a whole number >= 1"),
        ({"sha265": "0" * 64}, "unknown key 'sha265' in corpora.llava\\[0\\]"),
    ],
)
def test_a_wrong_listing_is_refused(tmp_path: Path, change, message):
    path = tmp_path / "listing.yaml"
    listed = {"url": "https://a.example/x", "to": "llava/x", **change}
    path.write_text(yaml.safe_dump({"hosts": ["a.example"], "corpora": {"llava": [listed]}}))
    with pytest.raises((ListingError, SettingsError), match=message):
        listing.load(path)
