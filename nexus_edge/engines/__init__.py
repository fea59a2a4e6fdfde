"""What runs the graphs of a target; one folder per engine, none of them imports torch outside its `probe/`."""
