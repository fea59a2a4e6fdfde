"""What a chat template writes, as data for runtimes that cannot run one: a frame for each role.

The frames are read off the processor's own prompts, and hold only if they write the same prompts again.
"""

from collections.abc import Callable, Collection, Sequence
from typing import get_args

from nexus_edge.errors import PromptError
from nexus_edge.interfaces.facts import BytePairs, Chat, ChatRole, Frame, JinjaTemplate, Turns
from nexus_edge.processing.messages import ImagePart, Message, TextPart
from nexus_edge.processing.segments import ImagePlace, Prompt
from nexus_edge.processing.tokenizer import Tokenizer

Part = TextPart | ImagePart
Apply = Callable[[Sequence[Message], bool], Prompt]
"""From messages, and whether the answer is opened, to a prompt."""

ROLES: tuple[ChatRole, ...] = get_args(ChatRole)
IMAGE = "{image}"
FIRST, SECOND = "\ue000", "\ue001"
"""Texts of messages; private characters, which no template writes."""

CHANGED = f" \n<b> aB{FIRST} \n"
"""A text that a template which trims, escapes or capitalises shows itself by: frames do none of that."""


def turns_of(apply: Apply) -> Chat:
    """The frames of a template; `JinjaTemplate` where what it writes is not made of frames."""
    try:
        turns = _read(apply)
    except PromptError:  # it takes no plain question
        return JinjaTemplate()
    return turns if all(_alike(apply, turns, messages) for messages in _conversations(turns)) else JinjaTemplate()


def byte_pairs(tokenizer: Tokenizer, chat: Chat, control: Collection[str]) -> BytePairs:
    """The tokenizer of a bundle's `processor/`, with the ids of these control tokens and of those that frames hold."""
    tokens = (*control, *_tokens_in(chat, tokenizer.control_tokens))
    return BytePairs(
        file="processor/tokenizer.json",
        config="processor/tokenizer_config.json",
        bos_id=tokenizer.bos_id,
        special={token: id_ for token in tokens if (id_ := tokenizer.token_id(token)) is not None},
    )


def _tokens_in(chat: Chat, control: Collection[str]) -> list[str]:
    """Those of a tokenizer's control tokens that frames hold."""
    if isinstance(chat, JinjaTemplate):
        return []
    written = [chat.reply, chat.image]
    written += [text for frame in chat.frames.values() for text in (frame.before, frame.between, frame.after)]
    return [token for token in control if any(token in text for text in written)]


def _read(apply: Apply) -> Turns:
    frames: dict[ChatRole, Frame] = {}
    for role in ROLES:
        try:
            frames[role] = _frame(apply, role)
        except PromptError:
            if role == "user":
                raise
    question = [_message("user", TextPart(type="text", text=FIRST))]
    reply = str(apply(question, True)).removeprefix(str(apply(question, False)))
    first, second = (TextPart(type="text", text=text) for text in (FIRST, SECOND))
    written = str(apply([_message("user", first, ImagePart(type="image"), second)], False))
    head, _, rest = written.removeprefix(frames["user"].before).partition(FIRST)
    image = head or rest.partition(SECOND)[0].removeprefix(frames["user"].between)
    image = image.replace(str(ImagePlace(1)), IMAGE)
    return Turns(frames=frames, reply=reply, image=image, images_first=bool(head))


def _frame(apply: Apply, role: str) -> Frame:
    first, second = TextPart(type="text", text=FIRST), TextPart(type="text", text=SECOND)
    try:
        written = str(apply([_message(role, first, second)], False))
    except PromptError:  # some take one text of a system message or an answer
        before, _, after = str(apply([_message(role, first)], False)).partition(FIRST)
        return Frame(before=before, between="", after=after)
    before, _, rest = written.partition(FIRST)
    between, _, after = rest.partition(SECOND)
    return Frame(before=before, between=between, after=after)


def _conversations(turns: Turns) -> list[list[Message]]:
    """Of all roles, texts and images, for which a frame may differ by its place."""
    question = _message("user", TextPart(type="text", text=FIRST), ImagePart(type="image"))
    again = _message("user", ImagePart(type="image"), TextPart(type="text", text=SECOND), ImagePart(type="image"))
    plain, answer = (
        _message("user", TextPart(type="text", text=CHANGED)),
        _message("assistant", TextPart(type="text", text=CHANGED)),
    )
    start = [_message("system", TextPart(type="text", text=CHANGED))] if "system" in turns.frames else []
    both = [[*start, question, answer, again], [question, answer]] if "assistant" in turns.frames else []
    return [[plain], [*start, question], [question], [again], *both]


def _alike(apply: Apply, turns: Turns, messages: Sequence[Message]) -> bool:
    try:
        written = [str(apply(messages, opened)) for opened in (True, False)]
    except PromptError:
        return False
    return written == [render(turns, messages, opened) for opened in (True, False)]


def render(turns: Turns, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
    """The prompt that the frames write, for comparison; images as `ImagePlace` shows them."""
    frames = {str(role): frame for role, frame in turns.frames.items()}
    text, number = "", 0
    for message in messages:
        frame = frames[message["role"]]
        content = message["content"]
        parts: Sequence[Part] = [TextPart(type="text", text=content)] if isinstance(content, str) else content
        if turns.images_first:
            parts = sorted(parts, key=lambda part: part["type"] != "image")
        text += frame.before
        texts = 0
        for part in parts:
            if part["type"] == "text":
                text += (frame.between if texts else "") + part["text"]
                texts += 1
            else:
                number += 1
                text += turns.image.replace(IMAGE, str(ImagePlace(number)))
        text += frame.after
    return text + (turns.reply if add_generation_prompt and messages[-1]["role"] != "assistant" else "")


def _message(role: str, *parts: Part) -> Message:
    return Message(role=role, content=list(parts))
