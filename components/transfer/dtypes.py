"""Which dtype a transfer computes from and writes, tensor by tensor.

The policy is explicit and recorded, because it decides whether rounding noise enters: many bases are stored in
float32 and fine-tunes in bfloat16, and a fine-tune trained from the cast base must have the cast base subtracted.
"""

from components.errors import BadParameter

FLOATS = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
POLICIES = ("auto", *FLOATS, "stored")
TORCH_NAMES = {code: name for name, code in FLOATS.items()}


def check_policy(policy: str) -> str:
    """Return `policy` if it is one.

    `auto` casts all three models to the fine-tuned model's stored dtype first and writes that; a dtype's name casts
    them to that one; `stored` casts nothing and writes the target's dtype.

    Raises:
        BadParameter: it is none of them.
    """
    if policy not in POLICIES:
        raise BadParameter(f"dtype is {policy!r}", hint=f"use one of {', '.join(POLICIES)}")
    return policy


def cast_dtype(policy: str, tuned: str) -> str | None:
    """The dtype that all three tensors are cast to before the arithmetic, None for no cast."""
    if policy == "stored":
        return None
    return tuned if policy == "auto" else FLOATS[policy]


def output_dtype(policy: str, tuned: str, target: str) -> str:
    """The dtype that the result is rounded to, once."""
    return cast_dtype(policy, tuned) or target
