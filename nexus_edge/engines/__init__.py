"""What runs the graphs of a target; one folder per engine, none of them imports torch outside its `probe/`.

base.py       which engine runs a bundle, and with which options; dual.py: the same for two towers
interface.py  what a graph's file declares, held against the manifest
memory.py     memory that comes late, and goes back to the system
probes.py     how the ladder loads and runs graphs
"""
