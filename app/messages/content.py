"""A message's parts: as clients send them, as they are kept and shown, and as a model reads them."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, json

from app.kit.wire import Answer, Body

Detail = Literal["auto", "low", "high"]
Text = Annotated[str, Meta(min_length=1, max_length=256_000)]


class ImageUrl(Body, kw_only=True, frozen=True):
    """A picture by address. One that is in the address, `data:`, is shown to the model; no other is ever fetched."""

    url: Annotated[str, Meta(min_length=1)]
    detail: Detail = "auto"


class ImageFile(Body, kw_only=True, frozen=True):
    """A picture by file id."""

    file_id: str
    detail: Detail = "auto"


class ImageUrlPart(Body, tag_field="type", tag="image_url", kw_only=True, frozen=True):
    """A picture by address."""

    image_url: ImageUrl


class ImageFilePart(Body, tag_field="type", tag="image_file", kw_only=True, frozen=True):
    """A picture by file id."""

    image_file: ImageFile


class NewTextPart(Body, tag_field="type", tag="text", kw_only=True, frozen=True):
    """Text as clients send it."""

    text: Text


NewPart = NewTextPart | ImageUrlPart | ImageFilePart
NewContent = Text | Annotated[list[NewPart], Meta(min_length=1)]


class FileReference(Answer, kw_only=True, frozen=True):
    """A file by id."""

    file_id: str


class FileCitation(Answer, tag_field="type", tag="file_citation", kw_only=True, frozen=True):
    """Where in the text a file is cited; `text` is the marker to replace."""

    text: str
    file_citation: FileReference
    start_index: int
    end_index: int


class FilePath(Answer, tag_field="type", tag="file_path", kw_only=True, frozen=True):
    """Where in the text a made file is named; `text` is the marker to replace."""

    text: str
    file_path: FileReference
    start_index: int
    end_index: int


class TextValue(Answer, kw_only=True, frozen=True):
    """Text with its annotations."""

    value: str
    annotations: list[FileCitation | FilePath] = []


class TextPart(Answer, tag_field="type", tag="text", kw_only=True, frozen=True):
    """Text as it is kept and shown."""

    text: TextValue


class RefusalPart(Answer, tag_field="type", tag="refusal", kw_only=True, frozen=True):
    """What the model said instead of an answer."""

    refusal: str


Part = TextPart | RefusalPart | ImageUrlPart | ImageFilePart

decode_parts = json.Decoder(list[Part]).decode


def parts_of(content: str | Sequence[NewPart | Part]) -> list[Part]:
    """Return sent content as it is kept; parts that are so already stay."""
    if isinstance(content, str):
        return [TextPart(text=TextValue(value=content))]
    return [TextPart(text=TextValue(value=part.text)) if isinstance(part, NewTextPart) else part for part in content]


def chat_content(parts: Sequence[Part]) -> str | list[dict[str, Any]]:
    """Return kept content as a chat completion takes it: one string unless there are pictures to look at.

    A picture by file id or by an address elsewhere is not shown: the model is told that there was one. A model server
    would fetch what stands at the address, and reach from inside what the client cannot.
    """
    if any(isinstance(part, ImageUrlPart) and _is_shown(part) for part in parts):
        return [_chat_part(part) for part in parts]
    return "\n".join(_chat_part(part)["text"] for part in parts)


def _chat_part(part: Part) -> dict[str, Any]:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text.value}
        case RefusalPart():
            return {"type": "text", "text": part.refusal}
        case ImageUrlPart() if not _is_shown(part):
            return {"type": "text", "text": f"[picture: {part.image_url.url}]"}
        case ImageUrlPart():
            return {
                "type": "image_url",
                "image_url": {"url": part.image_url.url, "detail": part.image_url.detail},
            }
        case ImageFilePart():
            return {"type": "text", "text": f"[picture: file {part.image_file.file_id}]"}


def _is_shown(part: ImageUrlPart) -> bool:
    return part.image_url.url[:5].lower() == "data:"
