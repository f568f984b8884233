import json

from components.checkpoints.tokenizer import compare_vocabularies, parse_vocabulary


def vocabulary(tokens, *, merges=(), added=()):
    document = {
        "model": {"type": "BPE", "vocab": {token: index for index, token in enumerate(tokens)}, "merges": list(merges)},
        "added_tokens": [{"id": index, "content": token} for index, token in added],
    }
    return parse_vocabulary(json.dumps(document).encode(), "tokenizer.json")


def test_the_two_spellings_of_a_merge_are_one():
    old = vocabulary(["a", "b", "ab"], merges=["a b"])
    new = vocabulary(["a", "b", "ab"], merges=[["a", "b"]])
    assert old.fingerprint == new.fingerprint
    assert not compare_vocabularies(old, new).blocking


def test_other_merges_are_told():
    one = vocabulary(["a", "b", "ab"], merges=["a b"])
    other = vocabulary(["a", "b", "ab"], merges=["b a"])
    assert "merge rules" in compare_vocabularies(one, other).blocking


def test_a_moved_token_blocks():
    assert "2 ids" in compare_vocabularies(vocabulary(["a", "b", "c"]), vocabulary(["b", "a", "c"])).blocking


def test_renamed_and_appended_control_tokens_do_not():
    base = vocabulary(["a"], added=[(1, "<|end_of_text|>"), (2, "<|reserved_special_token_4|>")])
    tuned = vocabulary(["a"], added=[(1, "<|end_of_text|>"), (2, "<|eom_id|>"), (3, "<pad>")])
    found = compare_vocabularies(base, tuned)
    assert not found.blocking
    assert "<|reserved_special_token_4|> → <|eom_id|>" in found.note


def test_unigram_and_wordlevel_are_read():
    unigram = parse_vocabulary(json.dumps({"model": {"vocab": [["a", -1.0], ["b", -2.0]]}}).encode(), "t")
    assert unigram.ordinary == {0: "a", 1: "b"}
