"""`StyleJob`: what is wanted, said once. Every door builds one and hands it to `run`.

Flags, help texts and defaults of the command line are derived from the fields below. A job is JSON: it is saved
beside every result and can be run again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from impasto import losses
from impasto.errors import JobError, nearest

CLASSIC_CONTENT = {"block4_conv2": 1.0}
CLASSIC_STYLE = {f"block{block}_conv1": 1.0 for block in range(1, 6)}
ITERATIONS = {"draft": 60, "good": 200, "best": 600}
# Where a time budget alone says when to stop: more than any budget is long.
UNTIL_TIME_IS_UP = 100_000
SMALLEST_SIDE_PX = 16
# Fields that the fast engine makes use of; any other is refused with it unless it is at its default.
FAST_FIELDS = {
    "photo", "styles", "look", "engine", "size", "style_scale", "match_colour", "keep_colour", "strength", "model",
    "precision", "device", "threads", "max_pixels",
}  # fmt: skip
# What each look decides where the job does not.
LOOKS: dict[str, dict[str, Any]] = {
    "best": {},
    "classic": {
        "init": "content",
        "pyramid_from": 512,
        "content_layers": CLASSIC_CONTENT,
        "style_layers": CLASSIC_STYLE,
    },
    "photo": {"engine": "fast"},
}
# What the look photo cannot do: it maps the colours of the picture as a whole.
NOT_PHOTO_FIELDS = ("mask", "mask_rest", "seamless")
# What makes a job without a photo: nothing but the style, from noise. Layers are balanced by their pull on a photo.
TEXTURE_FIELDS: dict[str, Any] = {"content_weight": 0.0, "init": "random", "style_layers": CLASSIC_STYLE}


def parse_seconds(value: Any) -> Any:
    """`10`, `10s`, `2m`, `1.5h` in seconds; anything else is left for pydantic to refuse."""
    found = re.fullmatch(r"\s*([\d.]+)\s*([smh]?)\s*", value) if isinstance(value, str) else None
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]] if found else value


def parse_bytes(value: Any) -> Any:
    """`4GiB`, `500MB`, `2G` or a number of bytes, in bytes."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", value, re.IGNORECASE)
    if not found:
        raise ValueError("must be a size such as 4GiB or 500MB")
    # A bare letter means what memory comes in: powers of 1024.
    base = 1000 if value.strip().lower().endswith("b") and not found[3] else 1024
    return round(float(found[1]) * base ** "_kmgt".index(found[2].lower() or "_"))


def parse_layers(value: Any) -> Any:
    """`a,b=2`, ["a", "b=2"] or {"a": 1, "b": 2} as {"a": 1.0, "b": 2.0}; `auto` as it is."""
    if value == "auto":
        return value
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list | tuple):
        pairs = [str(part).partition("=") for part in value]
        value = {name: weight if equals else 1.0 for name, equals, weight in pairs}
    return value


def parse_style(value: Any) -> Any:
    """`starry.jpg:2` as a style of weight 2, unless a file has that very name."""
    if isinstance(value, str | Path):
        name, colon, weight = str(value).rpartition(":")
        if colon and re.fullmatch(r"-?\d+(\.\d+)?", weight) and not Path(value).exists():
            return {"file": name, "weight": float(weight)}
        return {"file": str(value)}
    return value


def parse_mask(value: Any) -> Any:
    """`sky.png=starry.jpg` as a mask and its style, `sky.png=starry.jpg=night.png` with the style's own mask as well.

    A mask alone is refused.
    """
    if isinstance(value, str):
        file, _, style = value.partition("=")
        value = (file, style) if Path(style).exists() else (file, *style.split("=", 1))
    if isinstance(value, tuple | list) and len(value) in (2, 3):
        file, style, *style_mask = map(str, value)
        if not style:
            raise ValueError("must name a style, as in FILE=STYLE")
        if style_mask == [""]:
            raise ValueError("must name the style's own mask behind the second =, as in FILE=STYLE=STYLE_MASK")
        return dict(zip(("file", "style", "style_mask"), (file, style, *style_mask), strict=False))
    return value


def parse_masks(value: Any) -> Any:
    """One mask as several."""
    return [value] if isinstance(value, str | Mask) else value


Layers = Annotated[
    dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | Literal["auto"], BeforeValidator(parse_layers)
]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Style(BaseModel):
    """A style picture and its share among several."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    weight: Weight = 1.0


class Mask(BaseModel):
    """A picture that is white where a style is painted, that style, and one that is white where the style counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    style: str
    style_mask: str | None = None


class StyleJob(BaseModel):
    """One stylisation. Fields with a default of None are decided when the job is run, as each says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    photo: str = Field("", description="The picture that gives the content.")
    styles: tuple[Annotated[Style, BeforeValidator(parse_style)], ...] = Field(
        (), description="The pictures that give the style, each with its weight."
    )
    look: str = Field(
        "best",
        description="Other defaults for the options below: best is what the judges prefer, classic the method of Gatys "
        "et al. with its layers, which begins with the photo, photo stays a photo and takes the style's colours and "
        "tones alone, by --engine fast where no other is given.",
        json_schema_extra={"unit": "|".join(LOOKS)},
    )
    engine: Literal["auto", "fast", "optimize"] = Field(
        "auto",
        description="How the picture is made: fast paints it in one pass with a trained network, optimize works on it "
        "iteration by iteration, nearer to the style; auto is optimize, or fast where --model is given or the "
        "backbone's weights are not here.",
    )
    strength: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Of the fast engine and --init draft: 0 is the photo itself, 1 the boldest.",
    )
    model: str | None = Field(
        None,
        description="The fast engine's network, as impasto train and train-any write it; default: the one shipped.",
        json_schema_extra={"unit": "FILE"},
    )
    quality: Literal["draft", "good", "best"] = Field(
        "good",
        description="How long to work where --iterations does not say: "
        + ", ".join(f"{name} {count}" for name, count in ITERATIONS.items())
        + " iterations. More is closer to the style.",
    )
    size: int | None = Field(
        None,
        ge=SMALLEST_SIDE_PX,
        description="Longest side of the result; default: the photo's own. Larger is slower and finer.",
        json_schema_extra={"unit": "PX"},
    )
    iterations: int | None = Field(
        None, ge=1, description="Evaluations of the objective in all, over all scales; default: by --quality."
    )
    pyramid_from: int | Literal["off"] | None = Field(
        None,
        description="Work coarse to fine, by factors of two, from this longest side on; smaller gives larger strokes, "
        "off works at full size only. Default: 256, so that a picture looks the same at any size, and 512 with "
        "--time-budget, since that is further in the same time.",
        json_schema_extra={"unit": "PX|off"},
    )
    optimizer: Literal["auto", "adam", "lbfgs", "gd"] = Field(
        "auto",
        description="lbfgs gets furthest in few iterations, adam needs far less memory, gd is plain gradient descent; "
        "auto takes lbfgs where the memory budget holds it, else adam.",
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Step size; default: the optimizer's own (lbfgs 0.8, adam 0.05, gd 1e-5). Larger is faster, "
        "then unstable.",
    )
    init: str = Field(
        "auto",
        description="What the picture starts as: content (the photo), draft (of the fast engine), random (noise by "
        "--seed), style, or a file; auto is draft, which is far ahead in the first iterations, and content with "
        "--engine optimize or where not all of the picture is painted alike (--mask, --seamless).",
        json_schema_extra={"unit": "auto|content|draft|random|style|FILE"},
    )
    content_layers: Layers = Field(
        "auto",
        description="Layers that hold the content, NAME or NAME=WEIGHT with commas between; deeper ones keep less of "
        "the photo's detail. auto chooses them and their weights.",
        json_schema_extra={"unit": "NAMES|auto"},
    )
    style_layers: Layers = Field(
        "auto",
        description="Layers that take the style; shallow ones give colour and grain, deep ones larger figures. auto "
        "chooses them and their weights.",
        json_schema_extra={"unit": "NAMES|auto"},
    )
    content_loss: str = Field(
        "mse", description="How content is compared: " + ", ".join(losses.LOSSES["content"]) + "."
    )
    style_loss: str = Field("gram", description="How style is compared: " + ", ".join(losses.LOSSES["style"]) + ".")
    content_weight: Weight = Field(
        5.0, description="More keeps more of the photo; it begins at five times as much and soon comes down to this."
    )
    style_weight: Weight = Field(100.0, description="More gives more of the style.")
    tv_weight: Weight = Field(0.0, description="Total variation: more gives smoother pictures with less grain.")
    style_scale: float = Field(
        1.0,
        gt=0,
        le=8,
        description="Longest side of the style picture relative to the result's; larger gives larger strokes.",
    )
    mask: Annotated[tuple[Annotated[Mask, BeforeValidator(parse_mask)], ...], BeforeValidator(parse_masks)] = Field(
        (),
        description="Paint STYLE where FILE is white, with STYLE_MASK only what of STYLE is white there; may be given "
        "several times. Elsewhere the other styles are painted, or those of --mask-rest; without any the photo stays "
        "as it is.",
        json_schema_extra={"unit": "FILE=STYLE[=STYLE_MASK]"},
    )
    mask_rest: str | None = Field(
        None, description="The style where no mask is white.", json_schema_extra={"unit": "STYLE"}
    )
    protect: str | None = Field(
        None,
        description="Keep the photo where FILE is white, and in part where it is grey.",
        json_schema_extra={"unit": "FILE"},
    )
    seamless: bool = Field(
        False, description="Make opposite borders fit each other, so that the picture can be laid out as tiles."
    )
    match_colour: bool = Field(False, description="Recolour the style like the photo before the run.")
    keep_colour: bool = Field(False, description="Give the result the photo's own colours; only lightness is painted.")
    stop_loss: float | None = Field(None, gt=0, allow_inf_nan=False, description="Stop once the objective is this low.")
    tolerance: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Stop at a plateau: when 20 iterations lower the objective by less than this fraction.",
    )
    time_budget: Annotated[float, BeforeValidator(parse_seconds), Field(gt=0, allow_inf_nan=False)] | None = Field(
        None,
        description="Work for this time, counted from pictures and network loaded; --iterations can end it sooner. "
        "Coarse scales get their share of it.",
        json_schema_extra={"unit": "10s|2m|1h"},
    )
    memory_budget: Annotated[int, BeforeValidator(parse_bytes), Field(gt=0)] | None = Field(
        None,
        description="Most memory the program may hold; default: what it holds and 60 % of what is free. Pictures that "
        "need more are worked on in tiles, which takes longer and changes nothing else.",
        json_schema_extra={"unit": "4GiB|500MB"},
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="Arithmetic in the network; auto takes bf16 where the machine has units for it."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="Where to compute.")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: as many as there are cores.")
    backbone: str = Field(
        "vgg16",
        description="The network whose features are compared: vgg16, vgg16-torchvision, vgg19, or a file that "
        "Cnn.save wrote.",
        json_schema_extra={"unit": "NAME|FILE"},
    )
    pooling: Literal["max", "avg"] | None = Field(
        None, description="Pooling of the network; avg gives smoother pictures; default: the network's own (max)."
    )
    start_noise: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of noise, by --seed, in the picture that it starts as; more is freer, and differs more from "
        "seed to seed.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Of the random start; the same seed gives the same picture.")
    max_pixels: int = Field(
        268_435_456, ge=1, description="Refuse pictures with more pixels than this, before they are decoded."
    )

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> StyleJob:
        """A job from its fields; JobError that names the field and the way out."""
        try:
            return cls.model_validate(dict(fields))
        except ValidationError as error:
            raise JobError(explain(error.errors()[0])) from None

    @classmethod
    def load(cls, file: str | Path) -> StyleJob:
        """A job saved as JSON."""
        try:
            fields = json.loads(Path(file).read_text(encoding="utf-8"))
        except OSError as error:
            raise JobError(f"The job {file} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise JobError(f"{file} is not a job: it is not JSON.") from error
        if not isinstance(fields, dict):
            raise JobError(f"{file} is not a job: it holds no fields.")
        return cls.of(fields)

    def own_fields(self) -> dict[str, Any]:
        """The fields that are neither at their defaults nor at what the look says."""
        decided = {name: field.default for name, field in type(self).model_fields.items()}
        unlike = type(self).model_construct(**decided | LOOKS[self.look])
        return {name: value for name, value in self.model_dump().items() if value != getattr(unlike, name)}

    def with_changes(self, **fields: Any) -> StyleJob:
        """The same job with other fields, checked again."""
        return StyleJob.of(self.model_dump() | fields)

    def variations(self, count: int) -> list[StyleJob]:
        """The same job with `count` seeds; it begins with noise, or all would be the same."""
        noise = 0.0 if self.init == "random" else self.start_noise or 0.5
        return [self.with_changes(seed=self.seed + number, start_noise=noise) for number in range(count)]

    @property
    def total_iterations(self) -> int:
        if self.iterations is None and self.time_budget is not None:
            return UNTIL_TIME_IS_UP
        return self.iterations or ITERATIONS[self.quality]

    @property
    def coarsest(self) -> int | Literal["off"]:
        """What coarse to fine begins with: `pyramid_from`, where that is left to the program decided."""
        return self.pyramid_from or (256 if self.time_budget is None else 512)

    @property
    def start(self) -> str:
        """What the picture starts as: `init`, its `auto` decided."""
        if self.init != "auto":
            return self.init
        painted_alike = not self.mask and not self.seamless and self.content_weight > 0
        return "draft" if self.engine == "auto" and painted_alike else "content"

    @property
    def is_photo(self) -> bool:
        """Whether only colours and tones are to change."""
        return self.look == "photo"

    @property
    def is_fast(self) -> bool:
        """Whether one pass is what was asked for."""
        return self.engine == "fast" or (self.engine == "auto" and self.model is not None and self.init != "draft")

    @property
    def may_be_draft(self) -> bool:
        """Whether one pass is an answer where the backbone's weights are not here: no option would be left unused."""
        asked = self.changed_fields() - {"quality", "iterations", "time_budget", "init"}
        return self.engine == "auto" and self.init in ("auto", "content", "draft") and asked <= FAST_FIELDS

    def changed_fields(self) -> set[str]:
        """The fields that are not at their defaults."""
        return {name for name, field in type(self).model_fields.items() if getattr(self, name) != field.default}

    @property
    def style_files(self) -> list[str]:
        """The pictures of every style, those of masks last."""
        rest = [self.mask_rest] if self.mask_rest else []
        return [*(style.file for style in self.styles), *rest, *(mask.style for mask in self.mask)]

    @property
    def input_files(self) -> list[str]:
        """Every file that the job reads, but for the backbone's."""
        masks = [file for mask in self.mask for file in (mask.file, mask.style_mask)]
        files = [self.photo, *self.style_files, *masks, self.protect, self.model]
        return [file for file in files if file] + ([self.init] if Path(self.init).is_file() else [])

    @field_validator("pyramid_from", mode="before")
    @classmethod
    def _pyramid(cls, value: Any) -> Any:
        if value is None or value == "off":
            return value
        if not re.fullmatch(r"\d+", str(value)) or int(value) < SMALLEST_SIDE_PX:
            raise ValueError(f"must be off or a length in px from {SMALLEST_SIDE_PX} up")
        return int(value)

    @field_validator("content_layers", "style_layers")
    @classmethod
    def _some_layer_counts(cls, layers: dict[str, float] | str) -> dict[str, float] | str:
        if isinstance(layers, dict) and not any(weight > 0 for weight in layers.values()):
            raise ValueError("must name at least one layer with a weight above 0")
        return layers

    @field_validator("content_loss", "style_loss")
    @classmethod
    def _known_loss(cls, name: str, info: Any) -> str:
        try:
            losses.check(info.field_name.removesuffix("_loss"), name)
        except JobError as error:
            raise ValueError(str(error)) from error
        return name

    @field_validator("look")
    @classmethod
    def _known_look(cls, look: str) -> str:
        if look not in LOOKS:
            raise ValueError(
                f"There is no look {look!r}: did you mean {nearest(look, LOOKS)!r}? Known: {', '.join(LOOKS)}"
            )
        return look

    @model_validator(mode="before")
    @classmethod
    def _as_the_look_says(cls, fields: Any) -> Any:
        """What the look decides, under what was given."""
        look = fields.get("look") if isinstance(fields, dict) else None
        return LOOKS.get(look, {}) | fields if isinstance(look, str) else fields

    @model_validator(mode="after")
    def _consistent(self) -> StyleJob:
        if self.styles and not any(style.weight > 0 for style in self.styles):
            raise ValueError("all style weights are 0: give at least one style a weight above 0")
        if self.content_weight == 0 and self.style_weight == 0:
            raise ValueError("content_weight and style_weight are both 0: there is nothing to work towards")
        self._check_engine()
        if self.mask_rest and not self.mask:
            raise ValueError("no mask is given that could leave anything over for mask_rest: add --mask FILE=STYLE")
        if self.mask_rest and self.styles:
            raise ValueError(
                f"{self.styles[0].file} and mask_rest {self.mask_rest} would both be painted where no mask is white: "
                "leave one of them out"
            )
        if self.start_noise and self.init == "random":
            raise ValueError("init random is noise throughout: choose another init or leave out start_noise")
        if self.keep_colour and self.match_colour:
            raise ValueError(
                "keep_colour and match_colour contradict each other: one brings the photo's colours back after the "
                "run, the other recolours the style before it; choose one"
            )
        return self

    def _check_engine(self) -> None:
        """ValueError for an option that the engine would not use."""
        changed = self.changed_fields()
        unfit = next((name for name in NOT_PHOTO_FIELDS if name in changed), None)
        if self.is_photo and unfit:
            raise ValueError(f"the look photo maps the colours of the whole picture: leave out {flag_of(unfit)}")
        if self.is_fast and not LOOKS[self.look].keys() <= FAST_FIELDS:
            raise ValueError(f"the fast engine has no use for the look {self.look}: leave out one of them")
        unused = sorted(changed - FAST_FIELDS - ({"protect"} if self.is_photo else set()))
        if self.is_fast and unused:
            flag = flag_of(unused[0])
            raise ValueError(f"the fast engine has no use for {flag}: leave it out, or use --engine optimize")
        drafts = changed & {"strength", "model"}
        if drafts and not self.is_fast and self.start != "draft":
            raise ValueError(f"--{min(drafts)} is of the fast engine: add --engine fast or --init draft")


def flag_of(field: str) -> str:
    """A field as the command line's option."""
    return f"--{field.replace('_', '-')}"


def explain(error: ErrorDetails) -> str:
    """One sentence of one of pydantic's errors, naming the field."""
    place = [str(part) for part in error["loc"] if not str(part).startswith(("function-", "literal[", "dict[", "int"))]
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    message = re.sub(r"^Input should be", "must be", message)
    if not place:
        # A field that a sentence begins with is written as it is.
        named = message.split(" ")[0] in StyleJob.model_fields
        return f"{message if named else message[:1].upper() + message[1:]}."
    if error["type"] == "extra_forbidden":
        return f"There is no option {place[-1]!r}."
    if message.startswith("There is"):
        return f"{message}."
    given = error["input"]
    shown = "" if isinstance(given, dict | list | tuple) else f", not {given!r}"
    if isinstance(given, float) and not math.isfinite(given):
        shown = ""
    return f"{'.'.join(place)} {message}{shown}."
