"""Texts of four kinds of document, put together at random: what the classifier learns from, and what the PDFs say."""

from __future__ import annotations

import random

KINDS = ("invoice", "contract", "letter", "report")

NAMES = ("Ada Byron", "Emil Post", "Grace Murray", "Kurt Friedrich", "Mary Somerville", "Niels Abel")
COMPANIES = ("Nordlicht Ltd", "Sable & Sons", "Quartz Logistics", "Meridian Works", "Harbour Foods")
GOODS = ("steel brackets", "printing paper", "oak boards", "copper wire", "glass panes", "office chairs")

SENTENCES = {
    "invoice": (
        "Invoice number {number} is due within {small} days.",
        "We charge {number} euros for {small} boxes of {goods}.",
        "Please transfer the amount of {number} euros to the account below.",
        "The total includes value added tax of {small} percent.",
        "Unit price {small} euros, quantity {number}, {goods}.",
        "Late payment is subject to interest of {small} percent a year.",
    ),
    "contract": (
        "This agreement is made between {company} and {other}.",
        "The term of this agreement is {small} years.",
        "Either party may terminate this agreement with {small} weeks of notice.",
        "The supplier shall deliver {goods} free of defects.",
        "Neither party is liable for damage that it could not foresee.",
        "This agreement is governed by the law of the seat of {company}.",
    ),
    "letter": (
        "Dear {name}, thank you for your kind words of last week.",
        "I hope that you and your family are well.",
        "We would be glad to welcome you at {company} in spring.",
        "Do write to me when you have made up your mind.",
        "It was a pleasure to meet {name} at the fair.",
        "With my best regards and warm wishes, {name}.",
    ),
    "report": (
        "Output rose by {small} percent in the second quarter.",
        "The survey covers {number} orders of {goods}.",
        "Costs of transport were {small} percent above plan.",
        "We recommend that {company} reviews its stock of {goods}.",
        "The figures of the previous year are shown in table {small}.",
        "In summary, the measures taken at {company} had an effect.",
    ),
}


def sentences_of(kind: str, count: int, generator: random.Random) -> list[str]:
    """Return `count` sentences of a document of this kind."""
    return [_filled(generator.choice(SENTENCES[kind]), generator) for _ in range(count)]


def labelled_texts(count: int, seed: int) -> list[tuple[str, str]]:
    """Return `count` texts of every kind, each with its kind, without repetitions."""
    generator = random.Random(seed)
    texts: dict[str, str] = {}
    for kind in KINDS:
        wanted = len(texts) + count
        while len(texts) < wanted:
            texts[" ".join(sentences_of(kind, generator.randint(2, 6), generator))] = kind
    return list(texts.items())


def _filled(sentence: str, generator: random.Random) -> str:
    return sentence.format(
        number=generator.randint(100, 9999),
        small=generator.randint(2, 90),
        name=generator.choice(NAMES),
        company=generator.choice(COMPANIES),
        other=generator.choice(COMPANIES),
        goods=generator.choice(GOODS),
    )
