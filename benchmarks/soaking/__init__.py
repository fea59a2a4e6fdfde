"""The parts of `benchmarks/soak.py`.

desk.py                 where they work, what they report
record.py               finished steps in a file, from which an interrupted run goes on
commands.py             the command line within this process, and what is wrong with how a command ended
damage.py, samples.py   a file changed at random; sound files to change
mutations.py, kinds.py  damaged files in the commands that open them
exports.py, hooked.py   exports that are killed, and exports whose disk fills
memory.py, clients.py   long runs; many threads on one model
"""
