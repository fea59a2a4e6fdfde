"""The ladder of vision-language models.

lab.py         what a climb shares            cases.py       prompts with pictures, and their way through the graphs
scheme.py      P4 (streamed.py: in little memory; held_out.py: questions with known answers)
end_to_end.py  P5 (answers.py: greedy tokens)
goldens.py     what is recorded (sampling.py)  replay.py      the same on a device
"""
