"""The card of an entry: its content, origin, metrics, and hashes."""

import dataclasses
import re

from cl_keras.bounds import check_image_size
from cl_keras.zoo.cards import addresses, names

SCHEMA = 1
OWN_FORMAT = "cl_keras"
"""Format of the files that `publish` writes; all others are in `zoo.imports.FORMATS`."""
KINDS = ("encoder", "encoder_data", "pretraining")
DATA = "encoder_data"
"""The second file of a TensorFlow checkpoint; the first is its index."""
MAX_FILE_BYTES = 2**40

_WEB = re.compile(r"https?://[^\s<>\"'\\|`]+", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Encoder:
    """The network: the name of its builder in `cl_keras.encoders`, and its arguments.

    `features` is the width of its output; `stem` null means the builder's default; `norm` is the
    kind of normalization, see `encoders.resnet50`.
    """

    name: str
    image_size: int
    channels: int
    features: int
    stem: str | None
    width: float
    norm: str = "batch"

    def __post_init__(self):
        names.check_word("name", self.name)
        names.check_word("norm", self.norm)
        check_image_size(self.image_size, at_least=8)
        _check(self.channels in (1, 3), "channels must be 1 or 3", self.channels)
        _check(1 <= self.features <= 65_536, "features must be from 1 to 65536", self.features)
        _check(0.01 <= self.width <= 8, "width must be from 0.01 to 8", self.width)


@dataclasses.dataclass(frozen=True)
class File:
    """One file of an entry.

    `address` is a path below the entry's folder, or `https://…`, `hf://owner/repository/path`,
    `file:///…` (only in catalogs on this machine). `sha256` is null if its authors publish none;
    then the first download is trusted, and later changes are refused. `sha256_prefix` and
    `md5_prefix` are hashes that some authors publish instead. `size` is in bytes, null if unknown.
    """

    kind: str
    format: str
    address: str
    size: int | None
    sha256: str | None
    sha256_prefix: str | None = None
    md5_prefix: str | None = None

    def __post_init__(self):
        names.check_word("kind", self.kind)
        names.check_word("format", self.format)
        if "://" in self.address:
            addresses.check(self.address)
        else:
            names.check_relative_path(self.address)
        if self.size is not None:
            bounds = f"size must be from 1 to {MAX_FILE_BYTES} bytes"
            _check(1 <= self.size <= MAX_FILE_BYTES, bounds, self.size)
        _check_hash(self.sha256, "sha256", 64, 64)
        _check_hash(self.sha256_prefix, "the prefix of a hash", 8, 63)
        _check_hash(self.md5_prefix, "the prefix of a hash", 8, 32)
        if self.format == OWN_FORMAT and (self.sha256 is None or self.size is None):
            raise ValueError(f"a file of the format {OWN_FORMAT!r} needs a sha256 and a size.")


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric and its protocol. `source` says who reports it; null: `cl-keras evaluate`."""

    name: str
    value: float
    protocol: str
    source: str | None

    def __post_init__(self):
        if not self.name or not self.protocol:
            raise ValueError("a metric needs a name, and the protocol of its evaluation.")


@dataclasses.dataclass(frozen=True)
class Paper:
    """The paper of the method."""

    title: str
    url: str

    def __post_init__(self):
        if not self.title:
            raise ValueError("a paper needs a title.")
        _check_web(self.url)


@dataclasses.dataclass(frozen=True)
class License:
    """The license of the weights: its name (SPDX if there is one), and the URL of its text."""

    name: str
    url: str | None

    def __post_init__(self):
        if not self.name.strip():
            raise ValueError("weights need a license to be usable, and it needs a name.")
        if self.url is not None:
            _check_web(self.url)


@dataclasses.dataclass(frozen=True)
class Training:
    """How the weights were trained; null or empty means unknown.

    `recipe` is the file of flags in the entry's folder, or an address; `config` is the complete
    configuration of the run, from which the pretraining model can be rebuilt.
    """

    epochs: int | None
    seeds: tuple[int, ...]
    hardware: str | None
    recipe: str | None
    config: dict | None


@dataclasses.dataclass(frozen=True)
class Card:
    """The description of a zoo entry.

    `golden` is a file of images, with the features that the encoder must give for them.
    """

    schema: int
    name: str
    method: str
    data: str
    tag: str | None
    encoder: Encoder
    training: Training
    files: tuple[File, ...]
    golden: File | None
    metrics: tuple[Metric, ...]
    paper: Paper | None
    origin: str
    license: License
    notes: tuple[str, ...]

    def __post_init__(self):
        this_version = f"schema must be {SCHEMA}, which this version of cl_keras reads"
        _check(self.schema == SCHEMA, this_version, self.schema)
        for field in ("method", "data", *(["tag"] if self.tag else [])):
            names.check_word(field, getattr(self, field))
        words = filter(None, [self.method, self.encoder.name, self.data, self.tag])
        name = names.check_name("_".join(words))
        _check(self.name == name, f"name must be {name!r}", self.name)
        kinds = [file.kind for file in self.files]
        fitting = "encoder" in kinds and set(kinds) <= set(KINDS) and len(set(kinds)) == len(kinds)
        known = f"files must include an encoder, and at most one of each of {KINDS}"
        _check(fitting, known, kinds)
        if "pretraining" in kinds and self.training.config is None:
            raise ValueError("a file of kind 'pretraining' needs training.config.")
        if not self.origin:
            raise ValueError("origin must say who trained the weights.")

    @property
    def all_files(self) -> tuple[File, ...]:
        """The files, and the golden file if there is one."""
        return self.files + ((self.golden,) if self.golden else ())

    def file(self, kind: str) -> File:
        """The `File` of the given kind.

        Raises:
            ValueError: if the entry has no such file.
        """
        for file in self.files:
            if file.kind == kind:
                return file
        known = ", ".join(repr(file.kind) for file in self.files)
        raise ValueError(f"{self.name} has no file of kind {kind!r}; it has {known}.")


def _check(valid, expected, received):
    if not valid:
        raise ValueError(f"{expected}; received {received!r}.")


def _check_hash(digits, what, least, most):
    if digits is not None:
        numbers = f"{least} to {most}" if least < most else most
        valid = re.fullmatch(f"[0-9a-f]{{{least},{most}}}", digits, re.ASCII)
        _check(valid, f"{what} must be {numbers} hexadecimal digits", digits)


def _check_web(url):
    _check(_WEB.fullmatch(url), "a URL must begin with https:// or http://", url)
