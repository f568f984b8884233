"""A step says where its image was built from other source than its pipeline was compiled from."""

import json

import pytest

from components.errors import BadParameter
from components.system import source_digest
from components.tracking.step_context import step

ADVICE = "build the images again where the pipeline is newer, or upload the pipeline again where the image is"


def events(capsys):
    lines = capsys.readouterr().out.splitlines()
    return {
        event["event"]: event
        for event in (json.loads(line.partition("recycle-event ")[2]) for line in lines if "recycle-event " in line)
    }


@pytest.mark.parametrize(("source", "is_told"), [("", False), (source_digest(), False), ("0123456789ab", True)])
def test_it_is_a_note_of_a_step_that_goes_well(monkeypatch, capsys, source, is_told):
    monkeypatch.setenv("RECYCLE_SOURCE", source)
    with step("resolve") as running:
        running.outcome["notes"] = ["the tokenizers differ"]
    notes = events(capsys)["ended"]["outcome"]["notes"]
    assert notes[0] == "the tokenizers differ"
    assert any(ADVICE in note and "0123456789ab" in note and source_digest() in note for note in notes) is is_told


def test_it_follows_the_hint_of_one_that_fails(monkeypatch, capsys):
    monkeypatch.setenv("RECYCLE_SOURCE", "0123456789ab")
    with pytest.raises(BadParameter), step("resolve"):
        raise BadParameter("no such suite", hint="name another")
    failed = events(capsys)["failed"]
    assert failed["do"].startswith("name another; the pipeline was compiled from other source")
    assert failed["do"].endswith(ADVICE)
