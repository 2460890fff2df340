"""Two made collections, small enough for a test and hard for a search engine: nobody asks in the words of the documents.

made:catalogue    30 kinds of products, 12 documents of each; customers have a sign of their own for each kind
    query     "bona ruvi K"         K is the customers' sign for what the catalogue calls tasi
    document  "tasi lomu fake"      tasi finds all twelve, K finds nothing
made:shop         30 products; whoever has bought one mostly buys its companion next
    history   "F, Q, 2, A, K"       what one customer bought, in order, each product by its sign
    target    the document of K's companion, of which the history says nothing; its text is that product's word

The 30 kinds stand on shelves of five, which no document says: a shop assistant who knows the shelf guesses right once in five.
`made:catalogue:3` is another one of the kind, with its words and signs drawn from seed 3. Words are four lower-case letters, signs
a capital letter or a digit, so that a student of single characters reads a sign at once and spells a word.
"""

import random
from collections.abc import Iterator
from functools import lru_cache

from redistill.errors import OperatorError

CONCEPTS, PER_CONCEPT = 30, 12
PRODUCTS, BOUGHT, JUMP = 30, 6, 0.7  # of a customer's first purchases, the chance that the next one is any product
SHELF = 5  # kinds, or products, on a shelf
FILLERS, MODIFIERS = 40, 24  # words of customers that mean nothing, words of the catalogue that many documents share
SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ1234"
MAX_QUERIES = 20_000  # and customers


def parse(address: str) -> tuple[str, int]:
    """("catalogue" or "shop", seed). OperatorError for another name."""
    _, name, *rest = address.split(":")
    if name not in ("catalogue", "shop") or len(rest) > 1 or not all(part.isdigit() for part in rest):
        raise OperatorError(f"there is no synthetic collection {address!r}; write made:catalogue, made:shop, or one with a seed: made:shop:3.")  # fmt: skip
    return name, int(rest[0]) if rest else 0


def documents(address: str) -> Iterator[tuple[str, str]]:
    """(id, text) of every document."""
    name, seed = parse(address)
    if name == "shop":
        yield from ((f"item-{n:02d}", word) for n, word in enumerate(_words(seed)["products"]))
        return
    words, rng = _words(seed), random.Random(f"documents:{seed}")
    for concept, word in enumerate(words["concepts"]):
        for number in range(PER_CONCEPT):
            yield f"doc-{concept:02d}-{number:02d}", " ".join([word, *rng.sample(words["modifiers"], 2)])


def queries(
    address: str, count: int = 1_200, *, shuffled: bool = False
) -> Iterator[tuple[str, str, dict[str, float], str]]:
    """(id, text, relevant documents, row) of so many different queries to a catalogue. shuffled: the targets are those of a kind of
    the same shelf that is drawn again for every query, so that a query says no more than the shelf: the control."""
    name, seed = parse(address)
    if name != "catalogue":
        raise OperatorError(f"{address} has purchase histories, not queries; use the source purchase-history.")
    _check(address, count)
    words, rng, used = _words(seed), random.Random(f"queries:{seed}"), set[str]()
    while len(used) < count:
        concept, row = rng.randrange(CONCEPTS), len(used)
        text = " ".join([*rng.sample(words["fillers"], 2), words["signs"][concept]])
        if text in used:
            continue
        used.add(text)
        if shuffled:
            concept = on_shelf_of(concept, random.Random(f"shuffled:{seed}:{row}"))
        documents = [f"doc-{concept:02d}-{number:02d}" for number in range(PER_CONCEPT)]
        yield f"q{row}", text, dict.fromkeys(documents, 1.0), f"{address}:{row}"


def histories(address: str, count: int = 1_200, *, shuffled: bool = False) -> Iterator[tuple[str, list[str]]]:
    """(customer, ids of what was bought in order) of so many customers. The last two purchases are companions of the ones before
    them and new to the customer; shuffled: each is any product of that companion's shelf, the control."""
    name, seed = parse(address)
    if name != "shop":
        raise OperatorError(f"{address} has queries, not purchase histories; use the source queries.")
    _check(address, count)
    for customer in range(count):
        rng = random.Random(f"history:{seed}:{customer}")
        bought: list[int] = []
        while len(bought) < BOUGHT:
            late = len(bought) >= BOUGHT - 2
            if not bought:
                bought = [rng.randrange(PRODUCTS)]
            elif late and companion(bought[-1]) in bought:
                bought = []  # started again: the next one must not be listed
            else:
                jumps = not late and rng.random() < JUMP
                bought.append(rng.randrange(PRODUCTS) if jumps else companion(bought[-1]))
        if shuffled:
            bought[-2:] = [on_shelf_of(product, rng) for product in bought[-2:]]
        yield f"customer-{customer}", [f"item-{n:02d}" for n in bought]


def _check(address: str, count: int) -> None:
    if not 0 < count <= MAX_QUERIES:
        raise OperatorError(f"{address}: the number of problems must be 1 to {MAX_QUERIES:,} (got {count}).")


def signs(address: str) -> dict[str, str]:
    """Item -> the sign by which a shop's customers know it."""
    name, seed = parse(address)
    assert name == "shop"
    return {f"item-{n:02d}": sign for n, sign in enumerate(_words(seed)["signs"])}


def sellers_words(address: str) -> list[str]:
    """The words by which a catalogue's kinds, or a shop's products, are found."""
    name, seed = parse(address)
    return _words(seed)["products" if name == "shop" else "concepts"]


def words_on_shelf(address: str, wanted: str) -> list[str]:
    """The words of the shelf that a wanted document (its id) is on."""
    place = int(wanted.split("-")[1]) // SHELF * SHELF
    return sellers_words(address)[place : place + SHELF]


def on_shelf_of(number: int, rng: random.Random) -> int:
    """Any kind or product of the same shelf."""
    return number // SHELF * SHELF + rng.randrange(SHELF)


def companion(product: int) -> int:
    """What is bought after it: the next one in a ring, whose order the names do not show."""
    return (product + 1) % PRODUCTS


@lru_cache(maxsize=8)
def _words(seed: int) -> dict[str, list[str]]:
    rng = random.Random(f"words:{seed}")
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    parts = {"concepts": CONCEPTS, "fillers": FILLERS, "modifiers": MODIFIERS, "products": PRODUCTS}
    drawn = rng.sample([a + b for a in syllables for b in syllables], sum(parts.values()))
    words = {name: [drawn.pop() for _ in range(size)] for name, size in parts.items()}
    return {**words, "signs": rng.sample(SIGNS, CONCEPTS)}
