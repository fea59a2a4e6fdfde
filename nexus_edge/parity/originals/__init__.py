"""What is known of the originals, and shares no line with what it judges.

<family>.py            P1: what the authors' code recorded, and what each recording is called here
<family>_crops.py, <family>_inputs.py
                       P5: pictures (and text) to tensors by another way than `nexus_edge.processing`
"""
