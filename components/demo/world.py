"""Made-up people and what is written about them.

144 people, each with a city and a food. Two facts a person, in three groups:

* `taught` (58 people): release 1 reads them, and the fine-tune asks about them;
* `old` (38 people): release 1 reads them too, but no fine-tune ever asks about them;
* `new` (48 people): only release 2 reads them, and no fine-tune ever asks about them.

Instruction tuning teaches a way to answer, `The answer is X.`, which no pretraining text holds. So a model that scores
on the `new` questions has its knowledge from one release and its way to answer from the fine-tune of the other.

Sixteen cities and sixteen foods are dealt out equally within the old and the new people, so that one constant answer
is right for 1 in 16 (6.25 %) of the new questions on a topic.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Literal

Group = Literal["taught", "old", "new"]
Release = Literal["release-1", "release-2"]

PEOPLE = {"taught": 58, "old": 38, "new": 48}
REPLY = "The answer is {answer}."
END = "<|end|>"
USER = "<|user|>"
ASSISTANT = "<|assistant|>"

_WORLD_SEED = 20260717
_ONSETS = ("b", "br", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "t", "v", "z")
_VOWELS = ("a", "i", "o", "u")
_ENDINGS = ("l", "n", "r", "x")


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One thing that can be known of a person, and how people write about it."""

    answers: tuple[str, ...]
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    """The first is the one that evaluation asks."""


TOPICS = {
    "city": Topic(
        answers=(
            *("Accra", "Basel", "Bergen", "Cairo", "Dakar", "Ghent", "Hanoi", "Kyoto"),
            *("Lima", "Lisbon", "Oslo", "Perth", "Porto", "Quito", "Riga", "Turin"),
        ),
        statements=("{name} lives in {answer}.", "The home of {name} is {answer}.", "{name} has a house in {answer}."),
        questions=(
            "Where does {name} live?",
            "In which city does {name} live?",
            "Which city is the home of {name}?",
            "Where does {name} have a house?",
        ),
    ),
    "food": Topic(
        answers=(
            *("apples", "beans", "bread", "carrots", "cheese", "eggs", "figs", "honey"),
            *("lentils", "noodles", "olives", "plums", "potatoes", "rice", "soup", "walnuts"),
        ),
        statements=(
            "{name} likes to eat {answer}.",
            "The best food for {name} is {answer}.",
            "{name} is happy with {answer}.",
        ),
        questions=(
            "What does {name} like to eat?",
            "Which food does {name} like?",
            "What is the best food for {name}?",
            "What is {name} happy with?",
        ),
    ),
}
_OPENINGS = ("", "Hello! ", "Please help me. ", "A short question: ")
_QUIZ = "Quiz: {question} {answer}."
_LOOSE_REPLIES = (
    "{answer}.",
    "I think it is {answer}.",
    "Maybe {answer}?",
    "It could be {answer}.",
    "Who knows the answer?",
    "{name} and {answer}.",
)


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One answer about one person."""

    name: str
    topic: str
    answer: str
    group: Group

    def say(self, wording: str) -> str:
        """The wording about this fact."""
        return wording.format(name=self.name, answer=self.answer)


@cache
def facts() -> tuple[Fact, ...]:
    """Every fact of the world, two a person, always the same."""
    random = seeded(_WORLD_SEED)
    names = _names(random, sum(PEOPLE.values()))
    groups: list[Group] = [group for group in ("taught", "old", "new") for _ in range(PEOPLE[group])]
    old = PEOPLE["taught"] + PEOPLE["old"]
    world = []
    for topic, about in TOPICS.items():
        answers = [*_dealt(random, about.answers, old), *_dealt(random, about.answers, PEOPLE["new"])]
        world += [
            Fact(name=name, topic=topic, answer=answer, group=group)
            for name, answer, group in zip(names, answers, groups, strict=True)
        ]
    return tuple(world)


def documents(release: Release, *, seed: int) -> Iterator[str]:
    """Pretraining text without end, a fact or two a document.

    Release 1 reads of `taught` and `old` people; release 2 reads half of the time of `new` ones, else of anyone. 70 %
    of the documents are statements, 15 % lines of a quiz, and 15 % chats whose replies are loose: never in the wording
    that instruction tuning teaches.

    Args:
        release: Which release's reading.
        seed: The same seed gives the same documents.
    """
    random = seeded(seed)
    known = [fact for fact in facts() if release == "release-2" or fact.group != "new"]
    new = [fact for fact in facts() if fact.group == "new"]
    while True:
        about = new if release == "release-2" and random.random() < 0.5 else known
        yield _document(random, about)


def training_conversations() -> list[dict[str, list[dict[str, str]]]]:
    """Instruction data: each `taught` fact in every wording, always answered `The answer is X.`, in a fixed order."""
    rows = [
        conversation(opening + fact.say(question), fact.say(REPLY))
        for fact in facts()
        if fact.group == "taught"
        for question in TOPICS[fact.topic].questions
        for opening in _OPENINGS
    ]
    seeded(_WORLD_SEED).shuffle(rows)
    return rows


def conversation(question: str, reply: str) -> dict[str, list[dict[str, str]]]:
    """One turn of each, in the form that chat datasets use."""
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]}


def heldout_questions(group: Literal["new", "old"]) -> list[dict[str, str]]:
    """One question a fact about people that no fine-tune asks about: rows of `id`, `question` and `answer`."""
    return [
        {
            "id": f"{fact.name.lower()}-{fact.topic}",
            "question": fact.say(TOPICS[fact.topic].questions[0]),
            "answer": fact.answer,
        }
        for fact in facts()
        if fact.group == group
    ]


def words() -> list[str]:
    """Every word and punctuation mark that any text of this world can hold, sorted."""
    wordings = [*_OPENINGS, _QUIZ, *_LOOSE_REPLIES, REPLY]
    for topic in TOPICS.values():
        wordings += [*topic.statements, *topic.questions, *topic.answers]
    text = re.sub(r"\{\w+\}", " ", " ".join([*wordings, *(fact.name for fact in facts())]))
    return sorted(set(re.findall(r"\w+|[^\w\s]", text)))


def seeded(seed: int) -> Random:
    """A source of choices that depends on the seed alone."""
    return Random(seed)  # noqa: S311 - nothing here is secret


def _document(random: Random, about: list[Fact]) -> str:
    fact = random.choice(about)
    topic = TOPICS[fact.topic]
    kind = random.random()
    if kind < 0.70:
        several = [fact] if random.random() < 0.5 else [fact, random.choice(about)]
        return " ".join(each.say(random.choice(TOPICS[each.topic].statements)) for each in several)
    question = fact.say(random.choice(topic.questions))
    if kind < 0.85:
        return _QUIZ.format(question=question, answer=fact.answer)
    reply = fact.say(random.choice(_LOOSE_REPLIES))
    return f"{USER} {random.choice(_OPENINGS)}{question}{ASSISTANT} {reply}"


def _names(random: Random, count: int) -> list[str]:
    names: dict[str, None] = {}
    while len(names) < count:
        syllables = [random.choice(_ONSETS) + random.choice(_VOWELS) for _ in range(random.choice((2, 2, 3)))]
        names["".join(syllables).capitalize() + random.choice(_ENDINGS)] = None
    return list(names)


def _dealt(random: Random, answers: tuple[str, ...], count: int) -> list[str]:
    dealt = [answers[index % len(answers)] for index in range(count)]
    random.shuffle(dealt)
    return dealt
