"""Vision-language models: prompts and images to answers.

context.py        what is in the cache, prefix reuse, chunked prefill, the switch between regimes of positions
context_pool.py   which answer uses which cache, in any threads
model.py, chat.py answers and conversations (generation.py: options and times; sampling.py; stop_strings.py)
answering.py      from a prompt to chunks of text; answer_stream.py and async_stream.py hand them out, answer.py is the
                  whole
image_cache.py    image features kept between turns
benchmark.py      what `nexus-edge bench` measures
"""
