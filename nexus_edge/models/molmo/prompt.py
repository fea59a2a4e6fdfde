"""Prompts of Molmo: words for the roles, and an image's tokens before all of them.

`User:` and `Assistant:` are ordinary words of the vocabulary, in the original as here. Source: the authors'
preprocessing_molmo.py for a question, the data_formatter.py of their training code for the turns after it.
"""

from collections.abc import Sequence

from nexus_edge._words import counted
from nexus_edge.errors import PromptError
from nexus_edge.models.molmo.crops import TOKENS, CropLayout
from nexus_edge.processing.messages import Message
from nexus_edge.processing.segments import Control, ImagePlace, Prompt

START, END, PATCH, COLUMN, IMAGE = "<im_start>", "<im_end>", "<im_patch>", "<im_col>", "<|image|>"
IMAGE_TOKENS = (START, END, PATCH, COLUMN, IMAGE)
"""In the order of their ids."""
ROLES = ("user", "assistant")


def apply_chat_template(messages: Sequence[Message], add_generation_prompt: bool = True) -> Prompt:
    """The prompt of a conversation, without its first token. An image stands before it, wherever a message has it.

    Args:
        messages: turns of user and assistant, one after the other
        add_generation_prompt: whether the last user's turn ends in what opens the assistant's

    Raises:
        PromptError: the conversation is empty, its turns are in another order, or a role or part is unknown
    """
    if not messages:
        raise PromptError("the conversation is empty; give at least one message")
    images, turns = 0, []
    for index, message in enumerate(messages):
        role = message["role"]
        if role not in ROLES:
            raise PromptError(f"unknown role {role!r} in the conversation; use one of {', '.join(ROLES)}")
        if role != ROLES[index % 2]:
            raise PromptError("the turns of user and assistant must alternate, and the user's comes first")
        text, found = _parts(message)
        images += found
        turns.append(f" {text}" if role == "assistant" else f" User: {text}")
        if role == "user" and (index + 1 < len(messages) or add_generation_prompt):
            turns.append(" Assistant:")
    places = [ImagePlace(number) for number in range(1, images + 1)]
    return Prompt((*places, *turns))


def is_whole_prompt(text: str) -> bool:
    """Whether a text looks like a whole prompt of its own: it begins with a role, or has tokens of images."""
    return text.lstrip().startswith(("User:", "Assistant:")) or any(token in text for token in IMAGE_TOKENS)


def image_segments(layout: CropLayout) -> list[Control]:
    """The tokens of an image: the whole of it, then its crops' joint grid, each row ended by a token."""
    segments: list[str] = []
    for rows, columns in ((TOKENS, TOKENS), layout.grid):
        segments += [START, *([*[PATCH] * columns, COLUMN] * rows), END]
    return [Control(token) for token in segments]


def check_images(places: Sequence[int], given: int) -> None:
    """Images must be those of the places in a prompt, and no more than one; raises PromptError.

    The original takes more, and then adds the features of all of them to the tokens of the first.
    """
    if given > 1:
        raise PromptError(f"Molmo reads one image in a prompt, and {given} were given; ask about one at a time")
    if sorted(places) != list(range(1, given + 1)):
        raise PromptError(
            f"the prompt takes {counted(len(places), 'image')}, and {given} {'was' if given == 1 else 'were'} given"
        )


def _parts(message: Message) -> tuple[str, int]:
    """The text of a message, and how many images it has."""
    content = message["content"]
    if isinstance(content, str):
        return content, 0
    texts, images = [], 0
    for part in content:
        if part["type"] == "text":
            texts.append(part["text"])
        elif part["type"] == "image":
            images += 1
        else:
            raise PromptError(f"unknown message part {part['type']!r}; use 'text' or 'image'")
    return "".join(texts), images
