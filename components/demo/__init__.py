"""A small world of made-up people in which fine-tuning transfer can be seen in a minute."""
