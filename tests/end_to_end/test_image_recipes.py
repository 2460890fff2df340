"""The toy recipes of image-text students, each as it is but a hundredth of its size, and real digits read from Parquet."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from redistill.config.parsing import parse_evaluation, parse_recipe
from redistill.config.yaml_text import SHIPPED
from redistill.errors import OperatorError
from redistill.io.parquet import read_records
from redistill.pipeline.plan import make_plan
from redistill.pipeline.run import run
from redistill.rollout.openai_engine import openai_engine
from redistill.rollout.requests import Request, Sampling
from redistill.text.image_marks import images_in
from redistill.tools.doctor import examine, facts
from redistill.tools.estimate.sample import look
from redistill.tools.evaluate import evaluate
from redistill.tools.rollout import rollout_file
from tiny_vision import FROM_CONFIG, png

pytestmark = pytest.mark.recipes  # `make recipes` runs them


def miniature(name, tmp_path, **changes):
    tree = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())
    if "from_config" in tree["student"]:
        config = {**FROM_CONFIG, "text_config": {**FROM_CONFIG["text_config"], "max_position_embeddings": 192}}
        tree["student"]["from_config"] = config
    tree["corpus"]["sources"][0] |= {"problems": 30}
    tree["corpus"]["dev_fraction"] = 0.2
    tree["verify"] = {"workers": 1}
    for stage in tree["train"].values():
        if "rollouts" in stage:
            stage["rollouts"] |= {"problems": 2, "n": 2, "rounds": 2, "max_new_tokens": 6}
        else:
            stage |= {"steps": 2, "batch_size": 2}
    tree["evaluate"] |= {"n": 1, "max_new_tokens": 6}
    return parse_recipe({**tree, **changes}, "here")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A run of the first toy, from drawn shapes to the page, with a stage on pairs."""
    folder = tmp_path_factory.mktemp("runs")
    recipe = miniature("visual-thinker-shapes", folder)
    redi = parse_recipe({"name": "x", "student": recipe.student.model_dump(), "corpus": recipe.corpus.model_dump(),
                         "train": {"redi": {"objective": "redi", "start": "base", "learning_rate": 1e-4, "steps": 2, "batch_size": 2}}}, "here")  # fmt: skip
    train = {**recipe.train, "redi": redi.train["redi"].model_copy(update={"start": "sft"})}
    return run(recipe.model_copy(update={"train": train}), runs_dir=folder)


def test_images_go_from_the_source_through_every_stage_to_the_page(shapes):
    images = {path.stem for path in (shapes / "corpus" / "images").rglob("*.png")}
    (example, *_) = [e for path in (shapes / "select" / "examples").glob("*.parquet") for e in read_records(path)]
    assert images_in(example.prompt) and set(images_in(example.prompt)) <= images
    for stage in ("sft", "control", "grpo", "redi"):
        ledger = json.loads((shapes / "train" / stage / "ledger.json").read_text())
        assert ledger["packed"] is False and ledger["steps"] == 2
        assert (shapes / "train" / stage / "model" / "preprocessor_config.json").exists()
        assert json.loads((shapes / "evaluate" / stage / "dev" / "scores.json").read_text())["strict"] is not None
    page = (shapes / "report.html").read_text()
    assert '<svg class="thumbnail"' in page and "<img" not in page and "data:image" not in page
    assert len(page.encode()) < 3_000_000


def test_a_run_goes_on_from_what_is_there_and_a_search_reads_images(shapes, tmp_path):
    student = {"model": str(shapes / "train" / "sft" / "model")}
    recipe = miniature("thinklite-vl-shapes", tmp_path, student=student)
    recipe.score[0].options.update(budget=2, max_steps=2)
    folder = run(recipe, runs_dir=tmp_path, until="train")
    groups = [g for path in (folder / "score" / "groups").glob("*.parquet") for g in read_records(path)]
    searched = [
        group for group in groups if "difficulty_tries" in group.problem.metadata
    ]  # those that are not held out
    assert len(searched) > len(groups) / 2 and all(group.problem.images for group in searched)
    assert json.loads((folder / "train" / "grpo" / "ledger.json").read_text())["steps"] == 2


def real_digits(place):
    """A handwritten digit and which one it is."""
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    return (digits.images[place] * 15).astype("uint8"), str(digits.target[place])


def printed_letters(place):
    """A letter as a font draws it, and which one it is."""
    from PIL import Image, ImageDraw, ImageFont

    page, letter = Image.new("L", (8, 12)), chr(ord("A") + place)
    ImageDraw.Draw(page).text((1, 0), letter, fill=255, font=ImageFont.load_default(10))
    return np.asarray(page), letter


@pytest.mark.parametrize("characters", [real_digits, printed_letters])
def test_characters_from_parquet(tmp_path, characters):
    from PIL import Image

    def picture(place):
        return png() if place == 3 else _bytes(Image.fromarray(characters(place)[0]).resize((16, 16)))

    rows = [{"image": {"bytes": picture(i), "path": f"{i}.png"}, "question": "which one?", "answer": characters(i)[1]} for i in range(24)]  # fmt: skip
    rows.append({"image": {"bytes": b"junk", "path": "junk.png"}, "question": "which one?", "answer": "1"})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "characters.parquet")
    recipe = miniature("visual-thinker-shapes", tmp_path)
    train = {"grpo": recipe.train["grpo"].model_copy(update={"start": "base"})}
    source = recipe.corpus.sources[0].model_copy(
        update={"name": "visual-questions", "options": {"path": str(tmp_path / "characters.parquet")}}
    )
    corpus = recipe.corpus.model_copy(update={"sources": [source]})
    folder = run(recipe.model_copy(update={"train": train, "corpus": corpus}), runs_dir=tmp_path, until="train")
    ledger = json.loads((folder / "corpus" / "ledger.json").read_text())
    assert ledger["accounts"]["rows"]["dropped"] == {"not_an_image": 1}
    assert ledger["accounts"]["problems"]["kept"] == 24


def _bytes(picture):
    import io

    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def test_a_text_student_is_told_before_any_work(tmp_path):
    tree = yaml.safe_load((SHIPPED / "visual-thinker-shapes.yaml").read_text())
    tree["student"] = {"from_config": {"hidden_size": 16, "num_attention_heads": 2}, "alphabet": "0123456789"}
    with pytest.raises(OperatorError, match="drawn-shapes asks about images, but the student reads only text"):
        make_plan(parse_recipe(tree, "here"))
    tree["corpus"]["sources"] = ["two-habits"]
    tree["train"]["sft"]["freeze"] = ["vision"]
    with pytest.raises(OperatorError, match=r"train.sft.freeze: the student reads only text"):
        make_plan(parse_recipe(tree, "here"))


def test_the_commands_beside_a_run_work_on_images_too(shapes, tmp_path):
    recipe = parse_recipe(yaml.safe_load((shapes / "recipe.yaml").read_text()), "here")
    found = examine(recipe.student, recipe)
    assert found.sentences == [] and "images" in facts(found)
    plan = make_plan(recipe)
    before, after = look(plan, tmp_path / "none"), look(plan, shapes)
    assert (before.exact, after.exact) == (True, True)
    assert before.streams["examples"].lengths.tolist() == after.streams["examples"].lengths.tolist()

    rows = [{"problem": "how many dots?", "answer": "1", "image": f"{colour}.png"} for colour in ("red", "blue")]
    for colour in ("red", "blue"):
        (tmp_path / f"{colour}.png").write_bytes(png(colour))
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    student = {"model": str(shapes / "train" / "sft" / "model")}
    asked = {"benchmarks": [{"name": "mine", "file": str(tmp_path / "mine.jsonl")}], "n": 1, "max_new_tokens": 4}
    tree = {"name": "alone", "student": student, "prompt": {"template": "{image}{problem}"}, "evaluate": asked}
    folder = evaluate(
        parse_evaluation({**tree, "verify": {"workers": 1}}, "here"), runs_dir=tmp_path, student_name="sft"
    )
    assert json.loads((folder / "evaluate" / "sft" / "mine" / "scores.json").read_text())["num_problems"] == 2
    assert len(list((folder / "evaluate" / "images").rglob("*.png"))) == 2
    (tmp_path / "red.png").write_bytes(b"junk")
    with pytest.raises(OperatorError, match=r"mine.jsonl row 0: its image cannot be read \(not_an_image"):
        evaluate(parse_evaluation({**tree, "name": "again"}, "here"), runs_dir=tmp_path, student_name="sft")


def test_a_server_is_sent_no_images(shapes):
    (example, *_) = [e for path in (shapes / "select" / "examples").glob("*.parquet") for e in read_records(path)]
    sampling = Sampling(n=1, temperature=0.0, top_p=1.0, max_new_tokens=4)
    with pytest.raises(OperatorError, match="servers are sent text only, not images"):
        openai_engine(lambda: None, [Request(example.prompt, 0)], sampling, base_url="http://127.0.0.1:9/v1", model="m")


def test_a_model_answers_a_file_of_problems_with_images(shapes, tmp_path):
    (tmp_path / "red.png").write_bytes(png("red"))
    rows = [{"problem": "how many dots?", "answer": "1", "images": ["red.png"]}, {"problem": "and now?", "answer": "2"}]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = rollout_file(
        str(shapes / "train" / "sft" / "model"), tmp_path / "mine.jsonl", out=tmp_path / "out.jsonl", n=2,
        max_new_tokens=4, template="{image}{problem}", overrides=["verify.workers=1"],
    )  # fmt: skip
    assert (found["problems"], found["answers"]) == (2, 4)
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row.get("images", [{}])[0].get("path") for row in written] == ["red.png", None]
