"""A preview shows a spread of records, lets no text act, and writes only what it says."""

import base64
import hashlib
import io
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from PIL import Image
from typer.testing import CliRunner

from manifests.schema import Kind, Step, Turn, canonical_json
from manifests.seal import Seal, SealError
from shards.cli import app
from shards.preview import choose, page, sheet

HOSTILE = (
    "</script><script>alert(1)</script>",
    "</style><style>*{display:none}</style>",
    "\"'><img src=x onerror=alert(2)>",
    "{{ 7 * 7 }}{% raise %}<!-- ]]>",
    "javascript:alert(3) &lt;b&gt; &amp;",
    "\u202eright to left\u2028",
)
VOID = {"meta", "img", "input", "br", "rect"}


class Page(HTMLParser):
    """What a browser makes of a page: its elements, all text, and the text by element."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.texts, self._open = [], "", {}, []
        self.feed(text)
        self.close()
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.text += " "
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data.replace("\u2013", "-").replace("\u00d7", "x")
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)

    def all(self, tag, **attrs):
        """The attributes of every such element; `class_` and `data_box` as they are in HTML."""
        named = {name.strip("_").replace("_", "-"): value for name, value in attrs.items()}
        found = [of for name, of in self.elements if name == tag]
        return [of for of in found if named.items() <= of.items()]


@pytest.fixture
def robots(make_record, write_shard, seal_shards, tmp_path):
    """A function that seals one record of robots, with some fields changed, and chooses it."""

    def seal(**fields):
        shard = write_shard(tmp_path, [make_record("robots", 2, **fields)])
        seal_shards(tmp_path, [shard])
        (shown,) = choose(tmp_path, 5, seed=1)
        return tmp_path, shown, Page(page(tmp_path, [shown], seed=1))

    return seal


def turn(number, prompt, target, kind: Kind = "qa", **more):
    return Turn(thread=number, id=str(number), prompt=prompt, target=target, kind=kind, **more)


def test_corpora_come_in_turns_and_their_splits_in_turns(whole):
    shown = choose(whole, 9, seed=1)
    assert [f"{one.record.corpus}/{one.record.split}" for one in shown] == [
        *("coco/train", "llava/train", "robots/train", "vqa/train"),
        *("coco/val", "llava/train", "robots/train", "vqa/train"),
        "coco/train",
    ]


def test_a_choice_is_the_seeds_and_no_record_comes_twice(whole):
    keys = [[one.record.key for one in choose(whole, 20, seed)] for seed in (1, 1, 2)]
    assert keys[0] == keys[1] != keys[2]
    every = Counter(one.record.key for one in choose(whole, 500, seed=1))
    assert len(every) == every.total() == 40 + 6 + 24 + 12 + 9


def test_kinds_of_a_place_come_in_turns(make_record, write_shard, seal_shards, tmp_path):
    records = [make_record("coco", n) for n in range(20)]
    records += [make_record("coco", 20, turns=(turn(0, "what?", "a cat"),))]
    seal_shards(tmp_path, [write_shard(tmp_path, records)])
    assert "qa" in {one.record.turns[0].kind for one in choose(tmp_path, 2, seed=1)}


def test_a_filter_chooses_among_what_was_written(whole):
    shown = choose(whole, 500, seed=1, where="corpus = 'coco' and split = 'val'")
    assert len(shown) == 6
    assert choose(whole, 5, seed=1, where="status <> 'written'") == []
    with pytest.raises(ValueError, match="no_such"):
        choose(whole, 5, seed=1, where="no_such = 1")


def test_a_page_holds_the_pictures_as_they_are_stored(whole):
    shown = choose(whole, 7, seed=1)
    images = Page(page(whole, shown, seed=1)).all("img")
    stored = [base64.b64decode(i["src"].removeprefix("data:image/jpeg;base64,")) for i in images]
    assert stored == [one.record.image for one in shown]
    assert {(i["width"], i["height"]) for i in images} == {("32", "32")}
    assert images[0]["alt"] == shown[0].record.turns[0].target, "a caption says what is seen"
    assert (
        images[3]["alt"] == f"Picture of {shown[3].record.key}: {shown[3].record.turns[0].prompt}"
    )


def test_a_page_begins_with_what_the_seal_says(whole):
    made = Page(page(whole, choose(whole, 3, seed=7), seed=7, where="turns > 0"))
    seal = Seal.read(whole)
    text = " ".join(made.text.split())
    assert f"root {seal.root}" in text
    assert "corpus train val test turns coco 40 6 - 230 llava 12 - - 42 robots 9 - - 18" in text
    assert "362 were written, 2 were duplicates, 3 held back and 1 quarantined. 1 images" in text
    assert "Of 368 annotations read" in text
    assert "3 records of 91, chosen with seed 7 where turns > 0" in text


def test_a_page_says_all_that_the_record_says(robots):
    reason = "Task analysis: a pipe.\nno heading here\nDecision: Drone."
    plan = (("look", "Drone", 1), ("film", "Humanoid", 1), ("carry", "Humanoid", 2))
    out, shown, made = robots(
        turns=(
            turn(0, "who goes?", "Drone, Humanoid", "robot"),
            turn(1, "who goes?", reason, "reasoning"),
            turn(2, "of what?", "oak", answers=("oak", "ash", "oak"), choices=("fir", "oak")),
            turn(3, "why?", "so", rationales=("because",)),
            *(turn(n, "", f"caption {n}", "caption") for n in range(4, 8)),
        ),
        robots=("Drone", "Humanoid"),
        plan=tuple(Step(text=text, robot=robot, order=order) for text, robot, order in plan),
        licence="CC BY 4.0",
        meta=canonical_json(
            {
                "site": {"terrain": "mud", "wind_ms": 12.5},
                "evidence": {"decided": "text", "facts": {"wind_ms": "text"}},
            }
        ),
    )
    text = " ".join(made.text.split())
    assert "robots-train-0002 robots / train · CC BY 4.0 Drone Humanoid" in text
    assert "robot who goes? Drone, Humanoid reasoning the same prompt Task analysis:" in text
    assert "Task analysis: a pipe. no heading here Decision: Drone." in text
    assert {"Task analysis:", "Decision:"} <= set(made.texts["b"])
    assert "oak 3 answers, 2 choices answers oak x 2 ash choices fir oak" in text
    assert "so 1 rationale rationales because" in text
    assert "2 more threads caption caption 6 caption caption 7" in text
    assert "plan Drone look Humanoid film Humanoid carry" in text
    assert [li["value"] for li in made.all("li") if "value" in li] == ["1", "2"]
    assert "Site, 2 facts terrain mud wind_ms 12.5 told by text" in text
    assert '"decided": "text"' in text
    row = shown.row
    assert "source the whole file robots-train-0002.jpg locator file:robots-train-0002.jpg" in text
    assert f"shard {row['shard']} bytes 0 to {row['nbytes']:,} digest {row['digest']}" in text
    (article,) = made.all("article")
    assert article["data-kinds"] == "caption|qa|reasoning|robot"
    assert article["data-robots"] == "Drone|Humanoid"
    assert str(out) not in text, "nothing of the machine's paths"


def test_a_turn_and_its_box_are_tied_and_a_small_box_lies_above_a_large_one(robots):
    small, large = (0.25, 0.5, 0.5, 0.75), (0.125, 0.25, 0.75, 1.0)
    turns = [turn(0, "where?", "here", "grounding", box=small)]
    turns += [turn(1, "and?", "there", "grounding", box=large), turn(2, "", "no box", "caption")]
    turns += [turn(3, "again?", "here", "grounding", box=small)]
    _, _, made = robots(turns=tuple(turns))
    drawn = [rect for rect in made.all("rect") if "data-box" in rect]
    places = [tuple(float(rect[n]) for n in ("x", "y", "width", "height")) for rect in drawn]
    assert places == [(0.125, 0.25, 0.625, 0.75), (0.25, 0.5, 0.25, 0.25)]
    assert [rect["data-box"] for rect in drawn] == ["0", "1"]
    tied = [div.get("data-box") for div in made.all("div", class_="turn")]
    assert tied == ["1", "0", None, "1"]
    assert len(made.all("div", tabindex="0")) == 3, "the keyboard reaches what has a box"


def test_texts_of_strangers_are_shown_and_never_act(robots):
    every = " ".join(HOSTILE)
    talk = [turn(n, evil, f"{evil} as a target") for n, evil in enumerate(HOSTILE)]
    talk += [turn(9, every, every, answers=HOSTILE, choices=HOSTILE, rationales=HOSTILE)]
    talk += [turn(10, "", f"{every}\n{every}", "reasoning")]
    steps = tuple(Step(text=evil, robot="Drone", order=1) for evil in HOSTILE[:5])
    site = {"site": {every: every}, "evidence": {"facts": {every: every}}, "more": HOSTILE}
    _, shown, made = robots(
        turns=tuple(talk), plan=steps, licence=every, group=every, meta=canonical_json(site)
    )
    text = "".join(made.text)
    for evil in HOSTILE:
        # Prompt, target, answer, choice, rationale, step, and in all that holds every one.
        assert text.count(evil) >= 12
    tags = Counter(tag for tag, _ in made.elements)
    assert (tags["script"], tags["style"], tags["img"]) == (1, 1, 1)
    assert tags.keys() & {"iframe", "link", "object", "embed", "base", "a"} == {"a"}
    for _, attrs in made.elements:
        assert not [name for name in attrs if name.startswith("on") or name in ("style", "srcset")]
    assert [a["href"] for a in made.all("a")] == ["#records"]
    assert made.all("img")[0]["src"].startswith("data:image/jpeg;base64,")
    assert made.all("img")[0]["alt"].endswith(shown.record.turns[0].prompt)


def test_the_policy_lets_only_the_pages_own_script_and_style_through(robots):
    _, _, made = robots()
    (policy,) = made.all("meta", http_equiv="Content-Security-Policy")

    def digest(tag):
        return base64.b64encode(hashlib.sha256("".join(made.texts[tag]).encode()).digest()).decode()

    assert policy["content"] == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest('style')}'; "
        f"script-src 'sha256-{digest('script')}'; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"https?:|//\w+\.|fetch\(|import\(|url\(", "".join(made.texts["script"]))
    assert not re.search(r"https?:|url\(|@import", "".join(made.texts["style"]))


def test_every_field_of_the_form_has_a_label_and_every_record_a_name(whole):
    text = page(whole, choose(whole, 6, seed=1), seed=1)
    made = Page(text)
    fields = len(made.all("select")) + len(made.all("input"))
    assert fields == 5
    assert len(re.findall(r"<label[^>]*>[^<]+<(?:select|input)", text)) == fields
    names = [article["aria-labelledby"] for article in made.all("article")]
    assert names == [heading["id"] for heading in made.all("h2")]
    assert len(set(names)) == 6
    assert all(image["alt"] for image in made.all("img"))


def test_a_sheet_has_a_cell_for_each_record_with_its_boxes_drawn(robots):
    white = io.BytesIO()
    Image.new("RGB", (224, 224), "white").save(white, "JPEG")
    long = turn(0, "word " * 200, "W" * 500, "grounding", box=(0.25, 0.5, 0.75, 1.0))
    out, shown, _ = robots(turns=(long,), image=white.getvalue())
    drawn = sheet(out, [shown] * 5, columns=4)
    assert drawn.size == (4 * 244 + 20, 52 + 2 * 376)
    corner = 20 + round(0.25 * 223), 52 + round(0.5 * 223)
    assert drawn.getpixel(corner) == (255, 90, 31)
    assert drawn.getpixel((corner[0] + 30, corner[1] + 30)) == (255, 255, 255)
    paper = (253, 252, 250)
    assert drawn.crop((244, 52, 264, 804)).getcolors() == [(20 * 752, paper)], "between two cells"
    below = drawn.crop((20, 276, 244, 408)).getcolors(9999) or []
    assert {colour for _, colour in below} > {paper, (32, 29, 26), (176, 58, 10)}


def test_the_command_writes_the_page_and_the_sheet_and_nothing_else(copy, tmp_path):
    def files():
        return {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}

    before = files()
    html, png = tmp_path / "a" / "page.html", tmp_path / "a" / "sheet.png"
    args = ["preview", str(copy), "--out", str(html), "--sheet", str(png), "--n", "8"]
    done = CliRunner().invoke(app, args)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{html}: 8 records, {html.stat().st_size:,} bytes",
        f"{png}: 8 records, {png.stat().st_size:,} bytes",
    ]
    first = html.read_bytes()
    assert first == page(copy, choose(copy, 8, seed=1), seed=1).encode()
    assert Image.open(png).size == (6 * 244 + 20, 52 + 2 * 376)
    assert sorted(path.name for path in html.parent.iterdir()) == ["page.html", "sheet.png"]
    assert files() == before
    CliRunner().invoke(app, args)
    assert html.read_bytes() == first


def test_the_command_says_what_is_wrong_in_a_line(copy, tmp_path):
    def fails(*options, folder=copy):
        out = tmp_path / "page.html"
        done = CliRunner().invoke(app, ["preview", str(folder), "--out", str(out), *options])
        assert not out.exists()
        return done.exit_code, done.stderr

    nothing = f"preview failed: {copy} has no record where turns > 99\n"
    assert fails("--where", "turns > 99") == (1, nothing)
    code, said = fails("--where", "no_such = 1")
    assert code == 1 and said.count("\n") == 1 and "no_such" in said
    assert fails("--n", "501")[0] == fails("--n", "0")[0] == 2
    code, said = fails("--where", "cast(key as int) > 5")  # as SQL it is right, of these rows not
    assert code == 1 and said.count("\n") == 1 and "--where" in said
    assert fails("--sheet", str(tmp_path / "x.foo"))[0] == 2
    (tmp_path / "folder").mkdir()
    code, said = fails("--out", str(tmp_path / "folder"))
    refused = "cannot be written: Is a directory; choose another place"
    assert (code, said) == (1, f"preview failed: --out {tmp_path / 'folder'} {refused}\n")
    code, said = fails("--sheet", str(copy / "coco" / "sheet.png"))
    assert code == 1 and "sheet.png lies in the data set" in said
    code, said = fails(folder=tmp_path / "none")
    assert code == 1 and "is not a sealed data set" in said


def test_a_damaged_record_is_named_and_nothing_is_written(copy, tmp_path):
    (shard,) = Seal.read(copy).select("coco", "val")
    path = copy / shard.tar
    path.write_bytes(b"x" + path.read_bytes()[1:])
    out = tmp_path / "page.html"
    args = ["preview", str(copy), "--out", str(out), "--where", "corpus = 'coco'", "--n", "60"]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 1
    assert re.match(rf"preview failed: {shard.tar}: record coco-val-\d{{4}} at byte 0", done.stderr)
    assert not out.exists()


def test_there_is_no_preview_of_what_is_not_sealed(tmp_path):
    with pytest.raises(SealError, match="is not a sealed data set"):
        choose(tmp_path, 5, seed=1)
