"""Image-text students: what an image becomes in a row, the log-probs of such rows, what freezing leaves alone, and what is refused."""

import copy
import pickle

import pytest
import torch

from redistill.config.tables import StudentSettings
from redistill.errors import OperatorError
from redistill.io.images import find_image, read_image
from redistill.model import loading
from redistill.model.logps import PackedPolicy, TokenSequence, make_pack, prepare_for_packing
from redistill.model.pictures import freeze, pictures_of
from redistill.rollout import slots
from redistill.rollout.requests import Request, Sampling
from redistill.rollout.transformers_engine import transformers_engine
from redistill.text.image_marks import image_mark
from tiny_vision import png, stored, vision_student


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[str]:
    return stored(tmp_path_factory.mktemp("images"), png("red"), png("blue"), png("green", size=(32, 16)))


@pytest.fixture(scope="module")
def student():
    settings = vision_student()
    tokenizer = loading.load_tokenizer(settings)
    return loading.load_model(settings, tokenizer, seed=0), tokenizer


def sequence(tokenizer, images, completion="two", words="how many?") -> TokenSequence:
    (prompt,) = loading.encode_prompts(tokenizer, ["".join(map(image_mark, images)) + words])
    (said,) = loading.encode_completions(tokenizer, [completion])
    return TokenSequence([*prompt, *said], len(prompt), tuple(images))


def logps_of(student, row: TokenSequence) -> torch.Tensor:
    with torch.no_grad():
        return PackedPolicy(student[0], packs=False)(make_pack([row], [0], [1.0]))[1]


def test_an_image_takes_a_token_for_every_patch_group_between_its_start_and_end(student, images):
    pictures, tokenizer = pictures_of(student[1]), student[1]
    row = sequence(tokenizer, [images[0], images[2]])
    start, pad, end = pictures.start, pictures.pad, pictures.end
    # 16 x 16 pixels are 4 x 4 patches, four of which are one token; 32 x 16 are twice as many
    assert row[0][:12] == [start, *[pad] * 4, end, start, *[pad] * 8, end][:12]
    assert tokenizer.decode(row[0][16 : row[1]]) == "how many?"
    assert tokenizer.convert_ids_to_tokens(pad) == "<|image_pad|>"


def test_the_log_probs_of_a_row_are_those_of_the_model_and_its_processor(student, images):
    model, tokenizer = student
    row = sequence(tokenizer, [images[2], images[0]])
    opened = [read_image(find_image(image)) for image in row.images]
    seen = pictures_of(tokenizer).processor(images=opened, return_tensors="pt")
    ids = torch.tensor([row[0]])
    kinds = (ids == model.config.image_token_id).int()
    with torch.no_grad():
        logits = model(input_ids=ids, mm_token_type_ids=kinds, **seen).logits[0].double()
    wanted = logits[row[1] - 1 : -1].log_softmax(-1).gather(-1, ids[0, row[1] :, None])[:, 0]
    assert torch.allclose(logps_of(student, row).double(), wanted, atol=1e-5)


def test_another_image_moves_the_log_probs_and_the_order_of_images_counts(student, images):
    red, blue = (
        logps_of(student, sequence(student[1], images[:1])),
        logps_of(student, sequence(student[1], images[1:2])),
    )
    assert (red - blue).abs().max() > 1e-4
    both = logps_of(student, sequence(student[1], images[:2]))
    turned = logps_of(student, sequence(student[1], [images[1], images[0]]))
    assert (both - turned).abs().max() > 1e-4


def test_such_a_student_is_not_packed_and_keeps_its_attention(student):
    model = copy.deepcopy(student[0])
    before = [one._attn_implementation for one in (model.config, model.config.text_config, model.config.vision_config)]
    training = model.training
    assert prepare_for_packing(model) is False and not slots.fits(model)
    after = [one._attn_implementation for one in (model.config, model.config.text_config, model.config.vision_config)]
    assert before == after and model.training is training


def test_the_gradient_reaches_both_parts_and_frozen_ones_stay_to_the_bit(images):
    settings = vision_student()
    tokenizer = loading.load_tokenizer(settings)
    row = make_pack([sequence(tokenizer, images[:1])], [0], [1.0])
    for frozen in ("vision", "language", None):
        model = loading.load_model(settings, tokenizer, seed=0)
        if frozen:
            freeze(model, [frozen])
        before = copy.deepcopy(model.state_dict())
        learning = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(learning, lr=0.1, weight_decay=0.1)
        PackedPolicy(model, packs=False)(row)[0].backward()
        optimizer.step()
        moved = {
            name.startswith("model.visual")
            for name, after in model.state_dict().items()
            if not torch.equal(after, before[name])
        }
        assert moved == {"vision": {False}, "language": {True}, None: {False, True}}[frozen]
    model = loading.load_model(settings, tokenizer, seed=0)
    freeze(model, ["language"])
    with pytest.raises(OperatorError, match="nothing to train in a row without an image"):
        PackedPolicy(model, packs=False)(make_pack([sequence(tokenizer, [])], [0], [1.0]))
    with pytest.raises(OperatorError, match="reads only text"):
        text = StudentSettings(from_config={"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "num_hidden_layers": 1}, alphabet="ab")  # fmt: skip
        freeze(loading.load_model(text, loading.load_tokenizer(text), seed=0), ["vision"])


def test_a_text_that_spells_the_tokens_of_an_image_is_a_text(student, images):
    tokenizer, pictures = student[1], pictures_of(student[1])
    spelled = "a<|image_pad|>b<|vision_start|><|video_pad|>"
    (prompt,) = loading.encode_prompts(tokenizer, [f"{image_mark(images[0])}{spelled}"])
    assert prompt.count(pictures.pad) == 4
    (said,) = loading.encode_completions(tokenizer, [spelled])
    assert not set(said) & pictures.special.keys()
    offsets = loading.completion_offsets(tokenizer, [spelled])[0]
    assert len(offsets) == len(said) - 1 and offsets[-1][1] == len(spelled)


def test_sampling_reads_the_image_never_says_its_tokens_and_is_repeated_by_its_seed(student, images):
    prompts = [f"{image_mark(images[place])}how many?" for place in (0, 1, 0, 2)]
    requests = [Request(prompt, seed) for prompt, seed in zip([*prompts, "hi"], (7, 7, 7, 1, 2), strict=True)]
    sampling = Sampling(n=1, temperature=1.0, top_p=1.0, max_new_tokens=12, logprobs=True)
    samples = transformers_engine(lambda: student, requests, sampling, batch_size=3)
    assert samples[0].token_ids == samples[2].token_ids
    never = set(pictures_of(student[1]).never_said)
    many = transformers_engine(lambda: student, [Request(prompts[0], seed) for seed in range(64)], sampling)
    assert not never & {token for sample in many for token in sample.token_ids}
    # the log-probs of sampling are those of training: the same model on the same pixels
    row = sequence(student[1], images[:1])
    said = TokenSequence([*row[0][: row[1]], *samples[0].token_ids], row[1], row.images)
    assert torch.allclose(logps_of(student, said), torch.tensor(samples[0].logprobs), atol=1e-4)
    alone = transformers_engine(lambda: student, requests[1:2], sampling)
    assert alone[0].token_ids == samples[1].token_ids


def test_a_saved_student_shows_images_as_before(student, images, tmp_path):
    loading.save_model(*student, tmp_path / "model", card="")
    again = loading.load_folder(tmp_path / "model")
    row = sequence(student[1], images[:1])
    assert sequence(again[1], images[:1]) == row
    assert torch.equal(logps_of(again, row), logps_of(student, row))
    travelled = pickle.loads(pickle.dumps(again[1]))
    assert sequence(travelled, images[:1]) == row
    smaller = loading.load_tokenizer(
        StudentSettings(model=str(tmp_path / "model"), image_processor={"max_pixels": 256})
    )
    assert len(sequence(smaller, images[2:])[0]) < len(sequence(again[1], images[2:])[0])
    (tmp_path / "model" / "preprocessor_config.json").unlink()
    (tmp_path / "model" / "checksums.json").unlink()
    with pytest.raises(OperatorError, match=r"image processor cannot be loaded.*preprocessor_config.json"):
        loading.load_tokenizer(StudentSettings(model=str(tmp_path / "model")))


def test_what_cannot_be_shown_is_one_sentence(student, images):
    few = loading.load_tokenizer(vision_student(max_images=1))
    with pytest.raises(OperatorError, match=r"has 2 images, but the student takes 1 \(student.max_images\)"):
        sequence(few, images[:2])
    with pytest.raises(OperatorError, match=r"image 000000000000\.\.\. is not there"):
        sequence(student[1], ["0" * 64])
    text = loading.character_tokenizer("abc")
    with pytest.raises(OperatorError, match="the student reads only text"):
        loading.encode_prompts(text, [image_mark(images[0])])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_pixels": 0}, r"student\.image_processor\.max_pixels: 0: write a whole number of pixels, from 1\."),
        ({"max_pixels": -5}, r"max_pixels: -5: write a whole number"),
        ({"max_pixels": "many"}, r"max_pixels: 'many': write a whole number"),
        ({"max_pixels": 1.5}, r"max_pixels: 1\.5: write a whole number"),
        ({"min_pixels": 10**12}, r"min_pixels: 1000000000000: write a whole number of pixels, from 1 to 16,777,216"),
        ({"min_pixels": 64, "max_pixels": 16}, r"min_pixels 64 is above max_pixels 16; lower it"),
        ({"max_pixel": 1024}, r"image_processor\.max_pixel: the image processor has no such option; did you mean 'max_pixels'"),
        ({"image_mean": [0.5]}, r"student\.image_processor: with these options the image processor fails on a small image"),
    ],
)  # fmt: skip
def test_options_that_the_image_processor_cannot_work_with_are_one_sentence(tmp_path, student, options, said):
    """Of a student from nothing, and of one in a folder."""
    loading.save_model(*student, tmp_path / "model", card="")
    for settings in (
        vision_student(image_processor=options),
        StudentSettings(model=str(tmp_path / "model"), image_processor=options),
    ):
        with pytest.raises(OperatorError, match=said):
            loading.load_tokenizer(settings)


def test_memory_does_not_grow_with_the_number_of_images(student, tmp_path, monkeypatch):
    monkeypatch.setattr("redistill.model.pictures.CACHE_BYTES", 20_000)
    pictures = pictures_of(loading.load_tokenizer(vision_student()))
    for image in stored(tmp_path, *(png((place, 0, 0)) for place in range(40))):
        pictures.features(image)
    assert 1 <= len(pictures._held) <= 7  # 16 patches of 48 fp32 values are 3,072 bytes
    assert len(pickle.loads(pickle.dumps(pictures))._held) == 0
