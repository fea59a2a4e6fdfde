"""The ladder of vision-language models.

kind.py        what the rungs call             run.py      what a run asks, and what came of it
cases.py       prompts with images             references.py  their way through the graphs in PyTorch (streamed.py)
scheme.py      P4 (held_out.py: questions with known answers)
end_to_end.py  P5 (runtime_answers.py, answers.py: greedy tokens)
own_data.py    a user's questions
goldens.py     what is recorded (sampling.py)  replay.py   the same on a device
"""
