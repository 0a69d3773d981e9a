"""Where a record belongs: pure functions of its names, so that adding data moves nothing.

Groups are canonical image identities (`coco:391895`, `vg:2354786`, `url:<digest>`) or, for tasks
without a picture of their own, the task's normal form. Every function here is golden-tested: a
change would move every record that was ever written.
"""

import hashlib
import re
import unicodedata

from manifests.schema import Split

MAX_BITS = 20  # a corpus and split has at most a million shards


def _md5(text: str) -> bytes:
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()


def split_of(group: str) -> Split:
    """The split of a group whose corpus has no official one: 70 % train, 20 % val, 10 % test."""
    bucket = int.from_bytes(_md5(group), "big") % 100
    return "train" if bucket < 70 else "val" if bucket < 90 else "test"


def shard_of(group: str, bits: int) -> str:
    """The shard id of a group among 2**bits: the top bits of md5(group), as five digits.

    With one bit more, shard i becomes shards 2i and 2i+1 and no other record moves.
    """
    if not 0 <= bits <= MAX_BITS:
        raise ValueError(f"bits is {bits}; expected 0 to {MAX_BITS}")
    return f"{int.from_bytes(_md5(group)[:4], 'big') >> (32 - bits):05d}"


def order_in_shard(key: str) -> str:
    """What records of a shard are sorted by: md5(key), hex. Neighbours have nothing in common."""
    return _md5(key).hex()


def image_group(source: str, identity: str | int) -> str:
    """The one spelling of an image for all corpora: `coco:391895`, `vg:2354786`.

    COCO's numbers lose their zeros; Visual Genome's names ("2354786", "n161313") stay as they are.
    """
    return f"{source}:{int(identity) if source == 'coco' else identity}"


def url_group(url: str) -> str:
    """The identity of an image known only by its address."""
    return f"url:{hashlib.sha256(url.strip().encode()).hexdigest()[:32]}"


def task_group(task: str) -> str:
    """The normal form of a task's words: twins that differ in spelling alone are one group.

    Drops a leading "Task:", folds case and compatibility forms, turns hyphens into spaces, drops
    punctuation (quotes straight and curly among it) and squeezes white space.
    """
    text = unicodedata.normalize("NFKC", task).casefold()
    text = re.sub(r"^\s*task\s*:", "", text)
    text = re.sub("[-\u2010-\u2015]", " ", text)
    text = re.sub(r"[^\w\s]|_", "", text)
    return " ".join(text.split())
