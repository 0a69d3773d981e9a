"""A site read from a task's words: its ground, height, depth, wind, doors and other facts."""

import re
from typing import Any

_GROUNDS = (  # (terrain, words): the first that is hit wins, so the telling words stand first
    ("rubble", "rubble collapsed collapse wreckage wrecked debris ruins ruin ruined earthquake "
               "quake bombed-out demolished rockfall toppled derailed"),
    ("snow", "snow snowy snowfield ice icy glacier blizzard avalanche ski frozen"),
    ("pavement", "paved paving asphalt tarmac tarred concrete runway apron avenue motorway"),
    ("mud", "mud muddy swamp swampy marsh bog peat silt landslide mudslide boggy soaked mudflat"),
    ("rock", "rock rocks rocky boulder boulders cliff crag scree ridge mountain ravine gorge "
             "canyon cave caves cavern volcano lava quarry ash gully spoil gravel limestone"),
    ("sand", "sand sandy sandbanks beach dune dunes desert"),
    ("grass", "grass field fields meadow pasture farm orchard vineyard park lawn garden gardens "
              "crop crops forest wood woods woodland hill hillside trail trees treetops maize "
              "wheat heath moor turf steppe valley jungle undergrowth alp terraces burnt"),
    ("water", "bay lake sea river strait lagoon estuary regatta pond"),
    ("pavement", "road street pavement airport yard dock quay pier bridge square kerb kerbs lorry"),
)  # fmt: skip
_WET = re.compile(
    r"\b(under ?water|undersea|sub ?sea|submerged|sunken|sank|sunk|divers?|kelp|reef|wreck of|"
    r"sea ?(bed|floor)|(lake|river)bed|lagoon floor|keel|hull|propellers?|afloat|water ?line|"
    r"anchor chains?|penstock|(shark|wave) tank|siphon|(below|beneath|under|from below) "
    r"(the |low )*(frozen )?(water|surface|waves|ice|lake|hull|pontoons?|canal)|"
    r"\d+ m(etres)? (in )?depth|"
    r"depth of \d+|metres down in|(flooded|drowned) (\w+ )?(cave|tunnel|shaft|pit|mine|drain))\b|"
    r"\bbottom\b.*\b(sea|lake|river|pool|canal|reservoir|tank|harbour|dock|basin|pond|marina|moat|"
    r"channel)\b|\b(sea|lake|pool|canal|reservoir|pond|pier|nets?)\b.*\bbottom\b|"
    r"\b(pool|reservoir|dam)\b.*\b(drain|deep)\b|\bwater intake\b"
)
_INSIDE = (
    "indoor indoors inside corridor corridors office offices hospital ward wards warehouse "
    "kitchen lab laboratory library hall shop supermarket hypermarket hotel room rooms apartment "
    "factory aisle aisles museum theatre bedroom cellar basement lobby stairwell staircase "
    "greenhouse atrium attic upstairs downstairs studio canteen bathroom shelf shelves floor "
    "dishwasher cupboards soup carrots hangers dentist table tables sofa drawer drawers wardrobe "
    "thermostat hallway sink jacket cabinet copier chess residents bookcase microscope plates "
    "towels laundry customers reception house rehab linoleum lounge crypt furnace assembly "
    "landing shoes cloth"
)
_OUTSIDE = "outside outdoor outdoors roof rooftop gutters open-air sky stadium path riverside"
_LEVEL = (
    r"\b(flat|level|even|smooth|polished) (and \w+ )?(\w+ )?(floor|ground|concrete|corridor|turf|"
    r"tunnel|paths?|aisles?|asphalt|stone|paving|matting|boards|yard|quay|hall|lane|walk)\b"
)
_LEVELS: dict[str, tuple[tuple[str, float], ...]] = {  # fact -> (words, value): first hit wins
    "light": (("pitch-dark dark darkness unlit blackout lightless", 0.1),
              ("night midnight nightfall", 0.2),
              ("dusk dawn dim twilight gloomy smoke-filled smoky fog", 0.45),
              ("daylight noon sunny sunshine", 1.0)),
    "rain": (("storm downpour pouring hurricane thunderstorm squall typhoon", 0.9),
             ("rain raining rainy drizzle", 0.5)),
    "wind_ms": (("storm hurricane gale gales typhoon", 20.0),
                ("gusting gusts gusty blizzard squall blows", 15.0),
                ("calm windless", 1.0), ("breeze", 3.0), ("windy wind winds", 9.0)),
    "stairs": (("stairs staircase stairwell steps stairway flights upstairs downstairs", 1),
               ("step-free stepless", 0)),
    "doors": (("door doors doorway handle doorknob gate cupboard cupboards locked latch lock", 1),),
    "people": (("people crowd crowds patient patients visitors guests workers nurse nurses "
                "children passengers pupils residents customers spectators shoppers guest "
                "tourists victims survivors crew child resident climbers bathers", 1),),
    "clutter": (("blocked jammed rubble wreckage debris collapsed undergrowth", 0.9),
                ("cluttered shelves shelf shelving racks crates stacked pallets crowded narrow "
                 "dense tangled boulders aisle aisles", 0.6)),
    "height_m": (("mast masts pylon pylons chimney skyscraper steeple spire turbine", 40.0),
                 ("tower crane rooftop roof facade gutters rafters floodlights treetops silo "
                  "blades insulators", 15.0)),
    "slope_deg": (("cliff vertical", 70.0), ("steep scree ravine gorge canyon", 35.0),
                  ("slope slopes hillside embankment bank uphill hill", 25.0), ("ramp", 8.0)),
    "distance_m": (("miles kilometres", 3000.0), ("whole entire across", 400.0)),
    "ceiling_m": (("warehouse hangar atrium hall nave stadium", 10.0),
                  ("tunnel crawlspace attic duct cellar shaft crypt", 1.8),
                  ("corridor corridors", 2.6)),
}  # fmt: skip
_N, _M = r"(\d+(?:\.\d+)?)", r"[\s-]*(?:m|metres?|meters?)\b"
_MEASURES = (  # (fact, pattern of one number, factor); the first of a fact's patterns that hits
    ("slope_deg", rf"{_N}[\s-]*(?:degrees?|°)", 1.0),
    ("wind_ms", rf"{_N}[\s-]*(?:m/s|metres (?:a|per) second)", 1.0),
    ("wind_ms", rf"{_N}[\s-]*(?:km/h|kph|kilometres an hour)", 1 / 3.6),
    ("water_depth_m", rf"{_N}{_M}[\s-]*(?:deep|down|below|under|of (?:\w+ )?water|beneath|"
     r"depth)", 1.0),
    ("water_depth_m", rf"(?:depth of|bottom at|down to|at) {_N}{_M}", 1.0),
    ("water_depth_m", rf"{_N}{_M}(?! (?:long|along|transect|from))", 1.0),
    ("ceiling_m", rf"ceilings?(?: \w+)?(?: of| at)? {_N}{_M}", 1.0),
    ("ceiling_m", rf"{_N}{_M}[\s-]*ceiling", 1.0),
    ("height_m", rf"{_N}{_M}[\s-]*(?:up|high|tall|above|off the ground|over the|"
     r"(?:\w+ )?(?:tower|mast|chimney|wall|pylon|crane|antenna))\b", 1.0),
    ("height_m", rf"(?:hub|mast|roof|tower|ceiling|heads).*? {_N}{_M}(?! (?:long|along|from))",
     1.0),
    ("distance_m", rf"{_N}[\s-]*(?:square )?(?:km(?!/)|kilomet(?:re|er)s?)\b", 1000.0),
    ("distance_m", rf"{_N}{_M} (?:away|along|long|of|further|from|apart|a trip)", 1.0),
)  # fmt: skip
_SMALL = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_NUMBERS = {word: i for i, word in enumerate(_SMALL.split(), 1)}
_ONES = "|".join(list(_NUMBERS)[:9])
_NUMBERS |= {word: 10 * i for i, word in enumerate(_TENS.split(), 2)}
_SPELT = re.compile(rf"\b(?:({'|'.join(_NUMBERS)})(?:[ -]({_ONES}))?( hundred| thousand)?)\b")


def _digits(spelt: re.Match[str]) -> str:
    """ "twenty-five" -> "25", "six hundred" -> "600"."""
    value = _NUMBERS[spelt[1]] + (_NUMBERS[spelt[2]] if spelt[2] else 0)
    return str(value * {" hundred": 100, " thousand": 1000}.get(spelt[3] or "", 1))


def site_from_text(task: str) -> dict[str, Any]:
    """The facts that a task's words support, and "terrain" and "indoor", which always have a value.

    Metres, degrees, m/s and shares as in SITE_FACTS; a fact that nothing is said about is absent.
    """
    text = re.sub("[\u2018\u2019]", "'", task).casefold().removeprefix("task:")
    text = re.sub(r"(?<=\d),(?=\d{3})|'s\b", "", text).replace("car park", "paved yard")
    text = _SPELT.sub(_digits, text)
    denied = set(re.findall(r"\b(?:no|without)(?: any)? ([a-z]+)", text))
    words = set(re.findall(r"[a-z]+(?:-[a-z]+)*", text)) - denied
    site: dict[str, Any] = {}
    for fact, levels in _LEVELS.items():
        hits = (value for said, value in levels if words & set(said.split()))
        if (value := next(hits, None)) is not None:
            site[fact] = value
    for fact, pattern, factor in reversed(_MEASURES):
        if found := re.search(pattern, text):
            site[fact] = round(float(found[1]) * factor, 1)
    if re.search(_LEVEL, text):
        site |= {"slope_deg": 0.0, "clutter": site.get("clutter", 0.1)}
    for fact, names in (("wind_ms", {"wind"}), ("rain", {"rain"}), ("doors", {"door", "doors"}),
                        ("stairs", {"steps", "stairs"})):  # fmt: skip
        if denied & names:
            site[fact] = 0
    terrain = next((t for t, said in _GROUNDS if words & set(said.split())), None)
    inside = bool(words & set(_INSIDE.split())) and not words & set(_OUTSIDE.split())
    if _WET.search(text):
        site["terrain"] = "water"
        site.setdefault("water_depth_m", 5.0)
        inside = bool(words & {"pool", "aquarium", "tank", "tunnel", "penstock", "siphon"})
        for fact in (
            "height_m",
            "ceiling_m",
            "slope_deg",
            "rain",
            "wind_ms",
            "doors",
            "distance_m",
        ):
            site.pop(fact, None)  # "above" the seabed is not in the air, and no wind blows there
    else:
        site.pop("water_depth_m", None)
        if inside and terrain not in ("rubble", "rock", "mud"):  # rooms have floors
            terrain = "floor"
        site["terrain"] = terrain or "pavement"
        if terrain == "water":
            site["water_depth_m"] = 0.0  # the work is at or over the surface
    site["indoor"] = int(inside)
    if inside:
        site.pop("wind_ms", None)
        if site.get("light") == 0.2:  # at night the lamps are on
            site.pop("light")
    return site
