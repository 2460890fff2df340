"""What is drawn is kept at once: a killed evaluation asks only for what it lacks."""

import json
from dataclasses import replace

import pytest

from redistill.rollout import Request, Sampling, draw
from redistill.rollout.requests import Sample

SAMPLING = Sampling(n=1, temperature=0.6, top_p=0.95, max_new_tokens=8)
ASKING = replace(SAMPLING, logprobs=True)
REQUESTS = [Request(f"{i}+{i}=", seed=i) for i in range(5)]


class Engine:
    """Doubles the number of a prompt; dies before the `dies_at`-th sample. Remembers what it was asked."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.asked: list[str] = []
        self.dies_at = dies_at

    def __call__(self, student, requests, sampling, *, _finished):
        samples = []
        for place, request in enumerate(requests):
            if len(self.asked) == self.dies_at:
                raise KeyboardInterrupt
            self.asked.append(request.prompt)
            samples.append(Sample(str(2 * request.seed), 1, "stop"))
            _finished(place, samples[-1])
        return samples


def texts(engine, journal, requests=REQUESTS, sampling=SAMPLING, tell=lambda sample: None):
    return [s.text for s in draw(engine, lambda: None, requests, sampling, journal=journal, tell=tell)]


def test_a_killed_draw_goes_on_and_draws_nothing_twice(tmp_path):
    journal = tmp_path / "samples.jsonl"
    first, second = Engine(dies_at=3), Engine()
    with pytest.raises(KeyboardInterrupt):
        texts(first, journal)
    told = []
    assert texts(second, journal, tell=told.append) == ["0", "2", "4", "6", "8"] == texts(Engine(), None)
    assert first.asked == ["0+0=", "1+1=", "2+2="] and second.asked == ["3+3=", "4+4="]
    assert len(told) == 5  # the three kept ones count as progress too


def test_a_line_cut_short_is_drawn_again_and_the_file_stays_whole(tmp_path):
    journal = tmp_path / "samples.jsonl"
    texts(Engine(), journal, REQUESTS[:3])
    whole = journal.read_bytes()
    for cut in range(len(whole)):
        journal.write_bytes(whole[:cut])
        engine = Engine()
        assert texts(engine, journal, REQUESTS[:3]) == ["0", "2", "4"]
        assert len(engine.asked) == 3 - whole[:cut].count(b"\n")
        assert [json.loads(line)["text"] for line in journal.read_text().splitlines()] == ["0", "2", "4"]


def test_another_seed_prompt_or_temperature_is_another_sample(tmp_path):
    journal = tmp_path / "samples.jsonl"
    texts(Engine(), journal)
    for changed in (Request("0+0=", seed=9), Request("0+0", seed=0)):
        engine = Engine()
        texts(engine, journal, [changed])
        assert engine.asked == [changed.prompt]
    engine = Engine()
    texts(engine, journal, sampling=Sampling(n=1, temperature=0.7, top_p=0.95, max_new_tokens=8))
    assert len(engine.asked) == 5
    # how many samples are wanted changes none of them: a larger n goes on from the smaller one
    engine = Engine()
    assert texts(engine, journal, REQUESTS[:1], Sampling(2, 0.6, 0.95, 8)) == ["0"] and not engine.asked


def test_a_line_that_has_changed_is_named_and_only_its_sample_is_drawn_again(tmp_path, capsys):
    """Every byte of the middle line, one bit of it turned: never read as another sample, and its neighbours stay."""
    journal = tmp_path / "samples.jsonl"
    texts(Engine(), journal, REQUESTS[:3])
    whole = journal.read_bytes()
    begin = whole.index(b"\n") + 1
    end = whole.index(b"\n", begin)
    for place in range(begin, end):
        journal.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        engine = Engine()
        assert texts(engine, journal, REQUESTS[:3]) == ["0", "2", "4"]
        assert engine.asked == ["1+1="]
        assert "of 3 lines are corrupt; those samples are drawn again" in capsys.readouterr().err
        assert texts(Engine(dies_at=0), journal, REQUESTS[:3]) == ["0", "2", "4"]  # the new line is there


def test_a_journal_without_checksums_of_an_older_version_is_read(tmp_path):
    journal = tmp_path / "samples.jsonl"
    texts(Engine(), journal)
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    journal.write_text("".join(json.dumps({k: v for k, v in r.items() if k != "checksum"}) + "\n" for r in rows))
    assert texts(Engine(dies_at=0), journal) == ["0", "2", "4", "6", "8"]


def with_tokens(student, requests, sampling, *, _finished):
    """An engine that knows its tokens, and their log-probabilities where they are asked for."""
    samples = []
    for place, request in enumerate(requests):
        logprobs = (-0.1 - request.seed / 3, -1e-9) if sampling.logprobs else ()
        samples.append(Sample("x", 2, "stop", token_ids=(request.seed, 2), logprobs=logprobs))
        _finished(place, samples[-1])
    return samples


def test_token_ids_and_log_probabilities_are_the_same_after_a_resume_to_the_last_bit(tmp_path):
    journal = tmp_path / "samples.jsonl"
    drawn = draw(with_tokens, lambda: None, REQUESTS, ASKING, journal=journal)
    assert drawn[3].token_ids == (3, 2) and drawn[3].logprobs == (-0.1 - 3 / 3, -1e-9)
    assert draw(Engine(dies_at=0), lambda: None, REQUESTS, ASKING, journal=journal) == drawn
    # what was drawn without log-probabilities does not answer a caller who asks for them
    plain = tmp_path / "plain.jsonl"
    assert draw(with_tokens, lambda: None, REQUESTS, SAMPLING, journal=plain)[0].logprobs == ()
    assert draw(with_tokens, lambda: None, REQUESTS, ASKING, journal=plain) == drawn


def test_a_line_has_no_fields_for_what_the_engine_does_not_know(tmp_path):
    journal = tmp_path / "samples.jsonl"
    texts(Engine(), journal, REQUESTS[:1])
    assert set(json.loads(journal.read_text())) == {"key", "text", "num_tokens", "finish_reason", "facts", "checksum"}
