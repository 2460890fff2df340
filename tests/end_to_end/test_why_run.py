"""Of a real run, every record that select touched can say what became of it."""

from redistill.io.atomic import read_json
from redistill.io.parquet import read_records
from redistill.records import pair_id
from redistill.tools.lineage import as_text, way


def test_every_pair_and_every_dropped_record_has_a_way(whole):
    run = whole / "runs" / "mini"
    pairs = [p for path in (run / "select/pairs").iterdir() for p in read_records(path)]
    dropped = [d for path in (run / "select/dropped").iterdir() for d in read_records(path)]
    assert pairs and dropped
    for pair in pairs[:5]:
        text = as_text(way(run, pair_id(pair.chosen_id, pair.rejected_id)))
        assert "select    kept" in text and text.count("among") == 2  # control and redi read pairs, sft does not
    for record in dropped[::12]:
        assert record.reason in as_text(way(run, record.id))
    assert read_json(run / "train/redi/dropped.json") == []
