"""Prompts of LLaVA-NeXT: the chat template of each decoder, and the tag that stands for an image.

Mistral's `[INST]` and Vicuna's `USER:` are ordinary words of the vocabulary, in the originals as here; only the tokens
of ChatML, of ends and of images are control tokens.
"""

import re

from nexus_edge.processing.templates.chat import ImageTags

IMAGE_TAG = "<image>"
START, END = "<|im_start|>", "<|im_end|>"
_MARKS = ("<s>", "</s>", "<unk>", "<pad>", "<|startoftext|>", "<|endoftext|>")
CONTROL_TOKENS = (IMAGE_TAG, START, END, *_MARKS)

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
    "{{ ' ' + " + _FIRST + " + '</s> '}}{% else %}"
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

TEMPLATES = {
    "mistral": _MISTRAL,
    "vicuna": "{% for message in messages %}{% if message['role'] != 'system' %}" + _ROLE + _SPACED,
    "chatml": _CHATML,
}
"""The published chat templates, for checkpoints that bring none."""

MISTYPED = ("<\\\\s>", "</s>")
"""How Mistral's first publication spelled the end of an answer in its template, and what it means."""

IMAGES = ImageTags(re.compile(re.escape(IMAGE_TAG)))


def is_whole_prompt(text: str) -> bool:
    """Whether a text looks like a whole prompt of its own: it begins as one of the formats does, or tags images."""
    begins = ("[INST]", "<s>", "<<SYS>>", START, "USER:")
    return text.lstrip().startswith(begins) or IMAGE_TAG in text
