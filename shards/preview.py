"""Records of a sealed data set to look at: a page of HTML, and a contact sheet.

A spread over corpora, splits and kinds is chosen from the manifests; only the records chosen are
read, each verified. The page holds all it shows, and may not load anything.
"""

import base64
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice, zip_longest
from operator import attrgetter
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import jinja2
import msgspec
from PIL import Image, ImageDraw, ImageFont

from manifests.schema import KINDS, ROBOTS, SPLITS, Record, Turn
from manifests.seal import Seal
from shards import jpeg
from shards.inspect import explain, read, reading, select
from shards.rows import DamageError

_OPEN = 6  # threads of a record that are not folded away
_HEADING = 40  # letters, at most, of a heading in a reasoning
_TEMPLATE = Path(__file__).with_suffix(".html")

_SIDE, _TEXT, _GAP, _TITLE = 224, 132, 20, 52  # pixels of a contact sheet
_SAID, _LINE = 5, 18  # lines below a picture, and the height of each
_PAPER, _INK, _SOFT, _ACCENT = (253, 252, 250), (32, 29, 26), (101, 94, 87), (176, 58, 10)
_BOX, _HALO = (255, 90, 31), (255, 255, 255)


class Shown(NamedTuple):
    """A record and its manifest row, which says where it came from and where it lies."""

    record: Record
    row: dict[str, Any]

    @property
    def base64(self) -> str:
        return base64.b64encode(self.record.image).decode()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as stored."""
        found = jpeg.header(self.record.image)
        return found.width, found.height

    @property
    def alt(self) -> str:
        """What the picture shows, as far as the record says."""
        turn = self.record.turns[0]
        if turn.kind == "caption":
            return turn.target
        return f"Picture of {self.record.key}: {turn.prompt or turn.target}"

    @property
    def boxes(self) -> list[tuple[float, float, float, float]]:
        """Every box once, the largest first, so that a small one lies above it."""
        found = {turn.box for turn in self.record.turns if turn.box is not None}
        return sorted(found, key=lambda box: ((box[0] - box[2]) * (box[3] - box[1]), box))

    @property
    def threads(self) -> list[list[Turn]]:
        thread = attrgetter("thread")
        return [list(turns) for _, turns in groupby(sorted(self.record.turns, key=thread), thread)]

    @property
    def site(self) -> list[tuple[str, Any, str]]:
        """The site's facts: name, value, and what tells it (text, picture, both, or nothing)."""
        told = (self._meta.get("evidence") or {}).get("facts", {})
        return [(f, v, told.get(f, "")) for f, v in (self._meta.get("site") or {}).items()]

    @property
    def meta(self) -> str:
        """The rest of the record's meta, as JSON to read; empty if there is none."""
        rest = {name: value for name, value in self._meta.items() if name != "site"}
        return msgspec.json.format(msgspec.json.encode(rest)).decode() if rest else ""

    @property
    def _meta(self) -> dict[str, Any]:
        return msgspec.json.decode(self.record.meta)


def choose(folder: Path | str, count: int, seed: int, where: str | None = None) -> list[Shown]:
    """At most `count` records: corpora in turns, in each its splits in turns, in these its kinds.

    The same for the same data set, `seed` and `where` (as `shards.inspect.select` takes it). Raises
    SealError, DamageError, and ValueError for a wrong `where`.
    """
    if not Seal.read(folder).shards:
        return []
    rows = select(folder, where).filter(status="written").with_row_index("place")
    strata = ["corpus", "split", "kinds"]
    with reading(folder, where=where):
        found = rows.select("place", *strata).collect(engine="streaming")
    if any(found[name].null_count() for name in strata):
        raise DamageError(
            f"a manifest has a written row without {', '.join(strata[:-1])} or {strata[-1]}. "
            f"Check with: python -m shards validate {folder}"
        )
    drawn: dict[str, dict[str, list[list[int]]]] = {}
    by_stratum = sorted(
        found.group_by(strata),
        key=lambda group: (group[0][0], SPLITS.index(str(group[0][1])), list(group[0][2])),
    )
    for (corpus, split, kinds), part in by_stratum:
        random = Random(f"{seed}/{corpus}/{split}/{list(kinds)}")
        places = random.sample(range(len(part)), min(count, len(part)))
        chosen = part["place"].sort().gather(places).to_list()
        drawn.setdefault(corpus, {}).setdefault(split, []).append(chosen)
    of_corpora = [[_in_turn(kinds) for kinds in splits.values()] for splits in drawn.values()]
    order = _in_turn(_in_turn(splits) for splits in of_corpora)
    picked = found[list(islice(order, count))].select("place").lazy()
    with reading(folder, where=where):
        whole = picked.join(rows, on="place", how="left", maintain_order="left")
        whole = whole.collect(engine="streaming")
    return [Shown(read(folder, row), row) for row in whole.iter_rows(named=True)]


def _in_turn(parts: Iterable[Iterable[int]]) -> Iterator[int]:
    """One of each part, then another of each, until all are used up."""
    for those in zip_longest(*parts):
        yield from (one for one in those if one is not None)


def page(folder: Path | str, shown: Sequence[Shown], seed: int, where: str | None = None) -> str:
    """One HTML file of all in `shown`, which `choose` gave for `seed` and `where`."""
    seal = Seal.read(folder)
    text = _environment().from_string(_TEMPLATE.read_text(encoding="utf-8"))
    fates = ("read", "written", "quarantined", "duplicate", "held_back", "unannotated")
    return text.render(
        name=Path(folder).resolve().name,
        seal=seal,
        ledger={fate: sum(getattr(line, fate) for line in seal.ledger) for fate in fates},
        shown=shown,
        seed=seed,
        where=where,
        open=_OPEN,
        corpora=sorted({one.record.corpus for one in shown}),
        splits=SPLITS,
        kinds=[kind for kind in KINDS if any(kind in one.row["kinds"] for one in shown)],
        robots=ROBOTS,
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "sha256": lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode(),
        "tally": lambda answers: Counter(answers).most_common(),
        "count_of": _count_of,
        "lines": _lines,
        "explain": explain,
    }
    return environment


def _count_of(things: Sequence[object], name: str) -> str:
    """`3 answers`; nothing if there is none."""
    return f"{len(things):,} {name}{'s' * (len(things) != 1)}" if things else ""


def _lines(target: str) -> Iterator[tuple[str, str]]:
    """Each line of a reasoning as its heading, if it begins with one, and the rest."""
    for line in target.split("\n"):
        heading, colon, rest = line.partition(": ")
        yield (heading, rest) if colon and len(heading) <= _HEADING else ("", line)


def sheet(folder: Path | str, shown: Sequence[Shown], columns: int) -> Image.Image:
    """A contact sheet: pictures with their boxes, and below each whose it is and its first turn."""
    rows = -(-len(shown) // columns)
    wide, high = _SIDE + _GAP, _SIDE + _TEXT + _GAP
    whole = Image.new("RGB", (columns * wide + _GAP, _TITLE + rows * high), _PAPER)
    title = f"{Path(folder).resolve().name}, root {Seal.read(folder).root}"
    ImageDraw.Draw(whole).text((_GAP, _GAP), title, _SOFT, ImageFont.load_default(13))
    for place, one in enumerate(shown):
        row, column = divmod(place, columns)
        whole.paste(_cell(one), (_GAP + column * wide, _TITLE + row * high))
    return whole


def _cell(one: Shown) -> Image.Image:
    record, turn = one.record, one.record.turns[0]
    cell = Image.new("RGB", (_SIDE, _SIDE + _TEXT), _PAPER)  # what is too long ends at its edge
    picture = Image.open(io.BytesIO(record.image)).convert("RGB")
    picture.thumbnail((_SIDE, _SIDE))
    pen = ImageDraw.Draw(picture)
    for x0, y0, x1, y1 in one.boxes:
        wide, high = picture.width - 1, picture.height - 1
        corners = (x0 * wide, y0 * high, x1 * wide, y1 * high)
        pen.rectangle(corners, outline=_HALO, width=4)
        pen.rectangle(corners, outline=_BOX, width=2)
    cell.paste(picture)
    pen, small, font = ImageDraw.Draw(cell), ImageFont.load_default(11), ImageFont.load_default(13)
    pen.text((0, _SIDE + 6), f"{record.corpus} / {record.split}   {turn.kind}", _ACCENT, small)
    pen.text((0, _SIDE + 21), record.key, _SOFT, small)
    robots = _wrapped(", ".join(record.robots), font)
    said = _wrapped(turn.prompt, font) + _wrapped(turn.target if not robots else "", font)
    room = _SAID - len(robots)
    if len(said) > room:
        said[room - 1 :] = [f"{said[room - 1]} ..."]
    lines = [*((line, _INK) for line in said), *((line, _ACCENT) for line in robots)]
    for number, (line, colour) in enumerate(lines):
        pen.text((0, _SIDE + 40 + number * _LINE), line, colour, font)
    return cell


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """`text` in lines of at most a cell's width, or of a single word."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= _SIDE:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
