"""Chat templates in the styles of published models, against what transformers makes of them; text stays text.

`chat_templates/record.py` recorded expected.json.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from nexus_edge.errors import CheckpointError, PromptError
from nexus_edge.processing.messages import Message
from nexus_edge.processing.segments import Control, ImagePlace, Prompt
from nexus_edge.processing.templates.chat import ChatTemplate, ImageTags
from nexus_edge.processing.templates.source import TemplateSource
from nexus_edge.processing.tokenizer import Tokenizer

FOLDER = Path(__file__).parent / "chat_templates"
EXPECTED: list[dict[str, Any]] = json.loads((FOLDER / "expected.json").read_text("utf-8"))
CONTROL = (
    "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<image>",
    "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|system|>", "<|assistant|>", "<|end|>", "<|vision_start|>",
    "<|vision_end|>", "[INST]", "[/INST]",
)  # fmt: skip
TAGS = ImageTags(re.compile("<image>"))
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


@pytest.fixture(scope="module")
def core() -> tokenizers.Tokenizer:
    """Bytes as letters, and the control tokens of all styles."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = tokenizers.Tokenizer(models.BPE(vocab={one: i for i, one in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([tokenizers.AddedToken(token, normalized=False) for token in CONTROL])
    return made


@pytest.fixture(scope="module")
def recorded() -> dict[str, list[Message]]:
    """The conversations of the recording, by name, without its import of transformers."""
    source = (FOLDER / "record.py").read_text("utf-8")
    start, end = source.index("CONVERSATIONS: dict"), source.index("def as_parts")
    found: dict[str, Any] = {"Conversation": list, "Any": Any}
    exec(source[start:end], found)
    return {**found["CONVERSATIONS"], **found["IMAGES"]}


def made(text: str, core: tokenizers.Tokenizer, bos_id: int | None = None) -> ChatTemplate:
    return ChatTemplate(TemplateSource(text, "template.jinja"), Tokenizer(core, bos_id), TAGS, TOKENS)


def written(prompt: Prompt) -> str:
    return re.sub(r"<\|image_\d+\|>", "<image>", str(prompt))


@pytest.mark.parametrize("name", sorted({case["template"] for case in EXPECTED}))
def test_prompts_are_those_of_transformers(
    core: tokenizers.Tokenizer, recorded: dict[str, list[Message]], name: str
) -> None:
    template = made((FOLDER / f"{name}.jinja").read_text("utf-8"), core)
    cases = [case for case in EXPECTED if case["template"] == name]
    assert len(cases) >= 16
    for case in cases:
        messages = recorded[case["conversation"]]
        if messages[-1]["role"] == "assistant" and case["add_generation_prompt"]:
            continue  # transformers opens another answer after one; here nothing is opened
        if "error" in case:
            with pytest.raises(PromptError) as caught:
                template(messages, case["add_generation_prompt"])
            assert case["error"].removeprefix("TemplateError: ") in str(caught.value)
            continue
        prompt = template(messages, case["add_generation_prompt"])
        assert written(prompt) == case["text"], case
        numbers = [one.number for one in prompt.segments if isinstance(one, ImagePlace)]
        assert numbers == list(range(1, len(numbers) + 1))
        if case["conversation"] != "control in text":
            segments = [Control("<image>") if isinstance(one, ImagePlace) else one for one in prompt.segments]
            ids = template._tokenizer.encode_segments(segments)
            assert ids == core.encode(case["text"], add_special_tokens=False).ids, case


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.jinja")), ids=lambda path: path.stem)
def test_no_text_adds_a_control_token(core: tokenizers.Tokenizer, path: Path) -> None:
    """A conversation of control tokens has exactly those of the same conversation in plain words."""
    template = made(path.read_text("utf-8"), core)
    hostile = "".join(CONTROL) + "<|image_1|>"

    def control(text: str) -> list[object]:
        messages: list[Message] = [{"role": role, "content": text} for role in ("user", "assistant", "user")]
        return [one for one in template(messages).segments if not isinstance(one, str)]

    assert control(hostile) == control("words")


def test_the_bos_is_there_once(core: tokenizers.Tokenizer) -> None:
    """As in transformers' processors, which add none before a text that begins with it."""
    for bos_id in (None, core.token_to_id("<s>")):
        template = made("{{ bos_token }}{{ messages[0].content }}{{ bos_token }}", core, bos_id)
        ids = template._tokenizer.encode_segments(template([{"role": "user", "content": "<s>"}]).split()[0][0])
        assert [ids[0], ids[-1]] == [core.token_to_id("<s>")] * 2
        assert ids.count(core.token_to_id("<s>")) == 2


def test_images_keep_the_numbers_of_their_tags(core: tokenizers.Tokenizer) -> None:
    tags = ImageTags(re.compile(r"<\|image_(\d+)\|>"))
    tag = "'<|image_%d|>' % (3 - loop.index)"
    text = "{% for one in messages[0].content %}{{ one.text if one.type == 'text' else " + tag + " }}{% endfor %}"
    template = ChatTemplate(TemplateSource(text, "x"), Tokenizer(core, None), tags, {})
    image: Any = {"type": "image"}
    prompt = template([{"role": "user", "content": [image, image, {"type": "text", "text": "?"}]}])
    assert prompt.segments == (ImagePlace(2), ImagePlace(1), "?")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{% for m in messages %}{{ '<|im_end|>' if 'x' in m.content else m.content }}{% endfor %}",
            "leaves out|because",
        ),
        ("{% for m in messages %}{% if 'x' in m.content %}<|im_end|>{% endif %}{{ m.content }}{% endfor %}", "because"),
        ("{% for m in messages %}{{ m.content | replace('x', '<|im_end|>') }}{% endfor %}", "because"),
        ("{% for m in messages %}{{ m.content | replace('x', '<image>') }}{% endfor %}", "because"),
        ("{% for m in messages %}{{ m.content[:4] }}{% endfor %}", "leaves out text of message 1"),
        ("{% for m in messages if m.role != 'user' %}{{ m.content }}{% endfor %}", "leaves out text of message 1"),
        ("{% for m in messages %}{{ m.content }}{{ m.content[:4] }}{% endfor %}", "because"),
        ("{% for m in messages %}{{ m.content }}<image>{% endfor %}", "1 image tag for 0 images"),
        ("{% for m in messages %}{{ m.content + 1 }}{% endfor %}", "template.jinja fails on this conversation"),
        ("{{ raise_exception('only\nme') }}", "does not take this conversation: only me"),
    ],
)
def test_what_cannot_be_kept_apart_is_refused(core: tokenizers.Tokenizer, template: str, message: str) -> None:
    with pytest.raises(PromptError, match=message) as caught:
        made(template, core)([{"role": "user", "content": "xy"}])
    assert "\n" not in str(caught.value)


def test_a_changed_text_is_text(core: tokenizers.Tokenizer) -> None:
    template = made(
        "{% for m in messages %}{{ m.content | upper }}|{{ m.content | upper }}<|im_end|>{% endfor %}", core
    )
    prompt = template([{"role": "user", "content": "a</s>"}, {"role": "assistant", "content": " b"}])
    assert prompt.segments == ("A</S>", "|", "A</S>", Control("<|im_end|>"), " ", "B", "| ", "B", Control("<|im_end|>"))


def test_an_image_that_has_no_place_is_missed(core: tokenizers.Tokenizer) -> None:
    template = made("{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}", core)
    image: Any = {"type": "image"}
    with pytest.raises(PromptError, match="0 image tags for 1 image"):
        template([{"role": "user", "content": [image, {"type": "text", "text": "?"}]}])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "tool", "content": "x"}, "unknown role 'tool'.*tools are not supported"),
        ({"role": "user", "content": "x", "tool_calls": []}, "'tool_calls'.*tools are not supported"),
        ({"role": "user", "content": "x", "name": "Bo"}, "'name' beside role and content; leave it out"),
        ({"role": "user"}, "NoneType as its content"),
        ({"role": "user", "content": [{"type": "video"}]}, "unknown message part 'video'"),
        ({"role": "user", "content": [{"type": "text"}]}, "without 'text'"),
        ({"role": ["user"], "content": "x"}, "unknown role"),
    ],
)
def test_messages_that_say_more_are_refused(core: tokenizers.Tokenizer, message: Any, expected: str) -> None:
    with pytest.raises(PromptError, match=expected):
        made("{{ messages[0].content }}", core)([message])


def test_a_long_conversation_is_within_the_limits(core: tokenizers.Tokenizer) -> None:
    messages: list[Message] = [
        {"role": "assistant" if number % 2 else "user", "content": f"{number} " + "word " * 800}
        for number in range(301)
    ]
    for name in ("llama3_vision", "gemma_vision", "macros"):
        prompt = made((FOLDER / f"{name}.jinja").read_text("utf-8"), core)(messages)
        assert sum(isinstance(one, str) and one.startswith("300 word") for one in prompt.segments) == 1


def test_a_template_is_compiled_when_it_is_used(core: tokenizers.Tokenizer) -> None:
    template = made("{% for m in messages %}", core)
    with pytest.raises(CheckpointError, match=r"^template.jinja, line 1: .*endfor"):
        template([{"role": "user", "content": "x"}])
