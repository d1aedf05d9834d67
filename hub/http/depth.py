"""A body of JSON in; whether it nests too deeply out, in time that grows with its length alone. No recursion, no I/O.

A parser that recurses ends at some depth with an error of its own, or with the stack: this is asked before any parser is.
"""

DEEPEST = 32
"""No body of this API nests deeper than five."""
BRACES = bytes.maketrans(b"{}", b"[]")
OTHERS = bytes(set(range(256)) - set(b'[]{}"'))


def too_deep(body: bytes, deepest: int = DEEPEST) -> bool:
    """Whether arrays and objects stand in each other more than `deepest` times, or do not close."""
    if body.count(b"[") + body.count(b"{") <= deepest:
        return False
    escaped = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    # Two quotes side by side change nothing about what stands inside a string; every second piece then stands outside.
    quoted = escaped.translate(BRACES, OTHERS).replace(b'""', b"")
    left = b"".join(quoted.split(b'"')[::2])
    if b"[" * (deepest + 1) in left:
        return True
    for _ in range(deepest):  # each round takes away what is innermost
        shorter = left.replace(b"[]", b"")
        if len(shorter) == len(left):
            break
        left = shorter
    return bool(left)
