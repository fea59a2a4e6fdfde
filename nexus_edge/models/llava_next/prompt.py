"""Prompts of LLaVA-NeXT: the chat template of each decoder, and the tag that stands for an image.

Mistral's `[INST]` and Vicuna's `USER:` are ordinary words of the vocabulary, in the originals as here; only the tokens
of ChatML, of ends and of images are control tokens.
"""

from collections.abc import Callable, Sequence

from nexus_edge.errors import PromptError
from nexus_edge.processing.messages import Message
from nexus_edge.processing.segments import Control, ImagePlace, Prompt

IMAGE_TAG = "<image>"
ROLES = ("system", "user", "assistant")
START, END = Control("<|im_start|>"), Control("<|im_end|>")
_MARKS = ("<s>", "</s>", "<unk>", "<pad>", "<|startoftext|>", "<|endoftext|>")
CONTROL_TOKENS = (IMAGE_TAG, START.token, END.token, *_MARKS)

Segments = list[str | Control | ImagePlace]
Turn = Callable[[str, Segments, list[str]], Segments]

_IMAGES = (
    "{# Render all images first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\\n' }}{% endfor %}{# Render all text next #}"
)
_TEXTS = "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
_FIRST = "message['content'][0]['text']"
_MISTRAL = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ '<<SYS>>\\n' + " + _FIRST + " + "
    "'\\n<</SYS>>\\n\\n' }}{% elif message['role'] == 'user' %}{{ '[INST] ' }}" + _IMAGES + _TEXTS
    + "{{ content['text'] }}{% endfor %}{{' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + " + _FIRST + " + 'EOS '}}{% else %}"
    "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)  # fmt: skip
_SPACED = (
    _IMAGES + "{% if message['role'] != 'assistant' %}" + _TEXTS + "{{ content['text'] + ' '}}{% endfor %}{% else %}"
    + _TEXTS + "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)  # fmt: skip
_ROLE = "{{ message['role'].upper() + ': '}}{% endif %}"
_CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n'}}" + _IMAGES
    + "{% if message['role'] != 'assistant' %}" + _TEXTS + "{{ content['text'] }}{% endfor %}{% else %}" + _TEXTS
    + "{% generation %}{{ content['text'] }}{% endgeneration %}{% endfor %}{% endif %}{{'<|im_end|>'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)  # fmt: skip

# Mistral's first publication ended answers in a mistyped "<\s>"; the correction is what is written here for both.
TEMPLATES = {
    _MISTRAL.replace("EOS", "</s>"): "mistral",
    _MISTRAL.replace("EOS", "<\\\\s>"): "mistral",
    "{% for message in messages %}{% if message['role'] != 'system' %}" + _ROLE + _SPACED: "vicuna",
    _CHATML: "chatml",
}
"""Spelling of a chat template in Jinja -> the format that writes the same turns."""


def apply_chat_template(format_: str, messages: Sequence[Message], add_generation_prompt: bool = True) -> Prompt:
    """The prompt of a conversation: in each message the images come first, as the originals' templates have them.

    Args:
        format_: "mistral", "vicuna" or "chatml"
        messages: turns of system, user and assistant
        add_generation_prompt: whether the assistant's turn is opened; Mistral's format has nothing that opens it

    Raises:
        PromptError: the conversation is empty, or has an unknown role or part.
    """
    if not messages:
        raise PromptError("the conversation is empty; give at least one message")
    segments: Segments = []
    numbered = 0
    for message in messages:
        if message["role"] not in ("system", "user", "assistant"):
            raise PromptError(
                f"unknown role {message['role']!r} in the conversation; use one of system, user, assistant"
            )
        images, texts = _parts(message)
        places: Segments = []
        for number in range(numbered + 1, numbered + images + 1):
            places += [ImagePlace(number), "\n"]
        numbered += images
        segments += _TURNS[format_](message["role"], places, texts)
    if add_generation_prompt and messages[-1]["role"] != "assistant":
        segments += _OPENINGS[format_]
    return Prompt(tuple(segments))


def is_whole_prompt(text: str) -> bool:
    """Whether a text looks like a whole prompt of its own: it begins as one of the formats does, or tags images."""
    begins = ("[INST]", "<s>", "<<SYS>>", START.token, "USER:")
    return text.lstrip().startswith(begins) or IMAGE_TAG in text


def _parts(message: Message) -> tuple[int, list[str]]:
    """How many images a message has, and its texts."""
    content = message["content"]
    if isinstance(content, str):
        return 0, [content]
    images, texts = 0, []
    for part in content:
        if part["type"] == "image":
            images += 1
        elif part["type"] == "text":
            texts.append(part["text"])
        else:
            raise PromptError(f"unknown message part {part['type']!r}; use 'text' or 'image'")
    return images, texts


def _mistral(role: str, images: Segments, texts: list[str]) -> Segments:
    if role == "system":
        return ["<<SYS>>\n", *texts, "\n<</SYS>>\n\n"]
    if role == "user":
        return ["[INST] ", *images, *texts, " [/INST]"]
    return [" ", *texts, Control("</s>"), " "]


def _vicuna(role: str, images: Segments, texts: list[str]) -> Segments:
    opening: Segments = [] if role == "system" else [f"{role.upper()}: "]
    return [*opening, *images, *(f"{text} " for text in texts)]


def _chatml(role: str, images: Segments, texts: list[str]) -> Segments:
    return [START, f"{role}\n", *images, *texts, END]


_TURNS: dict[str, Turn] = {"mistral": _mistral, "vicuna": _vicuna, "chatml": _chatml}
_OPENINGS: dict[str, Segments] = {"mistral": [], "vicuna": ["ASSISTANT:"], "chatml": [START, "assistant\n"]}
