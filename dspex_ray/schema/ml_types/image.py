"""`Image`: a picture by address or by content, with its media type read from its first bytes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeAlias
from urllib.parse import urlsplit

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from dspex_ray.errors import ProgramError
from dspex_ray.problems import shown
from dspex_ray.schema.ml_types.base import MLType, is_count, worded

_DEFAULT_BYTES = 20 * 1024 * 1024
_MAGIC = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff", "image/gif": b"GIF8"}
_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?P<parameters>(?:;[^,;]*)*),(?P<body>.*)", re.DOTALL)


def media_type_of(data: bytes) -> str | None:
    """Return the media type that the first bytes show: PNG, JPEG, GIF or WebP, which every provider takes."""
    for kind, magic in _MAGIC.items():
        if data.startswith(magic):
            return kind
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


class Picture:
    """An image: either `url` (http or https), or `data` with its `media_type`. Not to be changed.

    It is no dataclass, which pydantic would take apart in `model_dump()`.
    """

    __slots__ = ("data", "media_type", "url")

    def __init__(self, *, url: str | None = None, data: bytes | None = None, media_type: str | None = None) -> None:
        """Take what the `Image` annotation has checked."""
        self.url, self.data, self.media_type = url, data, media_type

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Picture) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read it under the default rule."""
        return ImageRule().core_schema()

    def _parts(self) -> tuple[str | None, bytes | None, str | None]:
        return self.url, self.data, self.media_type

    def as_url(self) -> str:
        """Return its JSON form, an address: the URL, or a data URL with the content."""
        if self.data is None:
            return self.url or ""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"

    def __repr__(self) -> str:
        if self.data is None:
            return f"Picture({self.url!r})"
        digest = hashlib.sha256(self.data).hexdigest()[:12]
        return f"Picture({self.media_type}, {len(self.data)} bytes, sha256 {digest})"


@dataclass(frozen=True)
class ImageRule(MLType):
    """An address or a content. Options: `max_bytes` of the content, 20 MiB by default; `media_types` that are taken."""

    max_bytes: int = _DEFAULT_BYTES
    media_types: tuple[str, ...] = (*_MAGIC, "image/webp")
    kind: ClassVar[str] = "Image"

    def checked(self) -> None:
        """Refuse a size that is no count and media types that cannot be told."""
        if not is_count(self.max_bytes):
            raise ProgramError(f"Image's max_bytes is a whole number from 1 on, got {shown(self.max_bytes)}.")
        known = (*_MAGIC, "image/webp")
        if not self.media_types or not set(self.media_types) <= set(known):
            raise ProgramError(f"Image's media_types are some of {', '.join(known)}, got {shown(self.media_types)}.")

    def core_schema(self) -> CoreSchema:
        """Return the schema: text or bytes in, a Picture out, an address in JSON."""
        return core_schema.no_info_plain_validator_function(
            self._read,
            json_schema_input_schema=core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(
                Picture.as_url, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    def _read(self, value: Any) -> Picture:
        if isinstance(value, Picture):
            return value if value.data is None else self._content(value.data, value.media_type)
        if isinstance(value, bytes | bytearray):
            return self._content(bytes(value), None)
        if not isinstance(value, str):
            raise worded(f"expected an image as URL, data URL, base64 or bytes, got {type(value).__name__}")
        text = value.strip()
        if text[:5].lower() == "data:":
            return self._data_url(text)
        if "://" in text[:16]:
            return Picture(url=_address(text))
        return self._content(self._decoded(text), None)

    def _data_url(self, text: str) -> Picture:
        found = _DATA_URL.fullmatch(text)
        if not found or "base64" not in found["parameters"].split(";"):
            raise worded("expected a data URL such as data:image/png;base64,... ")
        return self._content(self._decoded(found["body"]), found["type"])

    def _decoded(self, text: str) -> bytes:
        if len(text) > self.max_bytes * 4 // 3 + 4:
            raise worded(f"the image has more than {self.max_bytes} bytes")
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise worded(f"neither a URL nor base64: {shown(text[:40])}") from error

    def _content(self, data: bytes, declared: str | None) -> Picture:
        if len(data) > self.max_bytes:
            raise worded(f"the image has {len(data)} bytes, more than {self.max_bytes}")
        found = media_type_of(data)
        if found not in self.media_types:
            kind = found or "no image of a known kind"
            raise worded(f"the content is {kind}; taken are {', '.join(self.media_types)}")
        if declared not in (None, found, "image/jpg" if found == "image/jpeg" else found):
            raise worded(f"declared as {declared}, but the content is {found}")
        return Picture(data=data, media_type=found)


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise worded(f"no valid URL: {shown(text)}") from error
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or re.search(r"\s", text):
        raise worded(f"expected an http or https URL, got {shown(text)}")
    return text


Image: TypeAlias = Annotated[Picture, ImageRule()]
"""A picture. URLs, data URLs, base64 and bytes are taken; the value is a `Picture`; nothing is fetched."""
