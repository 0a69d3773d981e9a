"""Wind, rain and light over a picture that is drawn."""

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from pipelines.robots.look import Look, mix


def draw_puddles(look: Look) -> None:
    """Rain on open ground: puddles with rings in them."""
    look.layer("puddles")
    rain = 0.0 if look.indoor or look.terrain == "water" else look.fact("rain")
    for x, y, s in look.spots(int(13 * rain)):
        look.oval(x, y, 0.1 * s, 0.02 * s, look.shade((148, 158, 168), 8))
        look.oval(x, y, 0.06 * s, 0.012 * s, (206, 214, 220))
        look.oval(x, y, 0.045 * s, 0.008 * s, (150, 160, 170))


def draw_weather(look: Look) -> None:
    """Outdoors: a gale as streaks and flying leaves, rain, falling snow."""
    if look.indoor:
        return
    look.layer("weather")
    rng, wind, rain = look.rng, look.fact("wind_ms"), look.fact("rain")
    if wind >= 8:
        for _ in range(int(1.5 * wind)):
            x, y, s = look.between(-0.15, 0.9), look.between(0.03, 0.9), look.between(0.1, 0.26)
            look.line(x, y, x + s, y - 0.01, (246, 248, 250), 0.006)
        for _ in range(int(1.6 * wind)):
            x, y, a = rng.random(), look.between(0.05, 0.95), look.between(0.008, 0.016)
            leaf = look.shade(rng.choice(((172, 112, 40), (96, 122, 44), (190, 70, 40))), 14)
            look.poly([(x, y), (x + a, y - a * 0.8), (x + 2 * a, y), (x + a, y + a * 0.5)], leaf)
    if rain > 0:
        slant, light, dark = 0.012 + min(wind, 24) * 0.003, (226, 234, 242), (128, 140, 156)
        for i in range(int(150 * rain)):
            x, y = look.between(-0.1, 1), look.between(-0.05, 1)
            look.line(x, y, x + slant, y + 0.065, light if i % 3 else dark, 0.005)
    if look.terrain == "snow":
        for _ in range(30 if wind < 8 else 70):
            look.oval(rng.random(), rng.random(), 0.006, 0.006, (255, 255, 255))


def develop(look: Look, size: int) -> Image.Image:
    """The picture at its final size: light, cast of colour, style and grain."""
    look.layer("light")
    rng, light = look.rng, min(1.0, look.fact("light", 1.0))
    trim = look.n * 0.06 * rng.random()
    x, y = trim * rng.random(), trim * look.between(0.6, 1.0)
    box = (x, y, x + look.n - trim, y + look.n - trim)
    picture = look.image.resize((size, size), Image.Resampling.BILINEAR, box, reducing_gap=1.0)
    faded, style = 0.3 * max(0.0, look.between(-1, 1)), rng.random()
    if look.fact("rain") > 0.3 and not look.indoor:
        faded = 0.45 * min(1.0, look.fact("rain"))
    if faded:
        picture = Image.blend(picture, picture.convert("L").convert("RGB"), faded)
    if style > 0.8:  # crisp, or soft
        picture = picture.filter(ImageFilter.EDGE_ENHANCE)
    elif style > 0.6:
        picture = picture.filter(ImageFilter.BoxBlur(0.6))
    gain, lift = look.between(0.92, 1.1), look.between(-6, 8)
    tint = [gain * look.between(0.94, 1.06) for _ in range(3)]
    if light < 0.7 and light > 0.15:
        hour = mix((90, 102, 152), (214, 182, 184), min(1.0, max(0.0, (light - 0.2) / 0.25)))
        if light > 0.45:
            hour = mix(hour, (255, 255, 255), (light - 0.45) / 0.25)
        tint = [t * h / 255 for t, h in zip(tint, hour, strict=True)]
    step = 24 if style < 0.15 else 1  # or in few tones
    table = [int(min(255, max(0, v // step * step * t + lift))) for t in tint for v in range(256)]
    picture = picture.point(table)
    if light <= 0.15:
        picture = ImageChops.multiply(picture, _torch(look, size))
    cells = size // 2
    grain = Image.frombytes("L", (cells, cells), rng.randbytes(cells * cells))
    grain = grain.point([v // (16 + 4 * step) for v in range(256)]).resize((size, size))
    return ImageChops.add(picture, Image.merge("RGB", (grain,) * 3), offset=-6)


def _torch(look: Look, size: int) -> Image.Image:
    """Near-black, but for the cone of a torch and the pool of light where it falls."""
    small = 56
    glow = Image.new("RGB", (small, small), (26, 30, 42))
    pen = ImageDraw.Draw(glow)
    c = small * ((look.x0 + look.x1) / 2 + look.between(-0.06, 0.06))
    y, r = small * (look.horizon + 0.04), small * 0.36
    foot = small * look.between(0.2, 0.8)
    pen.polygon([(foot, small * 1.1), (c - r, y), (c + r, y)], (150, 140, 112))
    pen.ellipse((c - r, y - r * 1.05, c + r, y + r * 0.95), (255, 246, 214))
    for lamp in look.lamps:
        a, b, w = lamp[0] * small, lamp[1] * small, small * 0.13
        pen.ellipse((a - w, b - w, a + w, b + w), (250, 226, 170))
    glow = glow.filter(ImageFilter.GaussianBlur(1.3))
    return glow.resize((size, size), Image.Resampling.BILINEAR)
