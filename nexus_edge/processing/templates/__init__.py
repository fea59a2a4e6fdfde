"""The chat template that a checkpoint brings: Jinja from a file of unknown origin, rendered in a sandbox.

source.py        which file of a checkpoint holds it
chat.py          a conversation to a `Prompt`, in which text of users stays text
conversation.py  messages as a template reads them, with marks in place of texts and images
sandbox.py       the environment that renders: what a template may call, and nothing else
rewrite.py       what is changed in, or refused of, a template's syntax tree before it is compiled
budget.py        how much time, steps and text one conversation may take

`source` and `chat` import no Jinja; a prompt does, when the first is made.
"""
