import copy
import json
import sys
import zlib

import pytest
import torch

from lit_models.motion.text import MAX_WORDS, FrozenTextEncoder, HashedTextEncoder, folder_hash, hashed_word, words
from lit_models.motion.text_cache import TextCache
from litmotif.cache import cache_folder

TEXTS = ["a person walks", "", "someone turns left, then right, and waves"]


def make(seed=0, **changes):
    torch.manual_seed(seed)
    return HashedTextEncoder(**{"size": 16, "buckets": 512, "num_heads": 2} | changes)


# Hashes


def test_words_have_neither_case_nor_punctuation_in_any_script():
    assert words("  A person—WALKS; (slowly)! ") == ["a", "person", "walks", "slowly"]
    assert words("Straße ﬁne 人が歩く") == ["strasse", "fine", "人が歩く"]
    assert words("?!") == []


def test_a_word_is_its_parts_and_nothing_but_a_function_of_the_string():
    parts = ["<ab>", "<ab", "ab>"]
    assert hashed_word("ab", 1000) == tuple(zlib.crc32(part.encode()) % 1000 for part in parts)
    assert len(hashed_word("walks", 10**9)) == 1 + 5 + 4 + 3


def test_related_words_share_parts_and_others_do_not():
    def shared(one, other):
        one, other = (set(hashed_word(word, 10**9)) for word in (one, other))
        return len(one & other) / len(one | other)

    assert shared("walks", "walking") > 0.2
    assert shared("walking", "wlaking") > 0.1
    assert shared("walks", "jump") == 0


# The learned encoder


@pytest.mark.parametrize("num_layers", [0, 2])
def test_a_caption_does_not_know_its_neighbours(num_layers):
    encoder = make(num_layers=num_layers)
    together = encoder(TEXTS)
    for row, text in enumerate(TEXTS):
        torch.testing.assert_close(encoder([text])[0], together[row])
    assert together.shape == (3, encoder.size)
    torch.testing.assert_close(encoder.eval()(TEXTS), together)


def test_order_counts_with_layers_and_not_in_a_bag():
    swapped = ["turn left then walk", "walk then left turn"]
    one, other = make(num_layers=1)(swapped)
    assert (one - other).abs().max() > 1e-3
    one, other = make(num_layers=0)(swapped)
    torch.testing.assert_close(one, other)


def test_what_is_written_otherwise_is_the_same_and_what_is_another_is_not():
    encoder = make()
    same = encoder(["A person walks.", "a  person WALKS", " ".join(["go"] * MAX_WORDS), "go " * 200])
    torch.testing.assert_close(same[0], same[1])
    torch.testing.assert_close(same[2], same[3])  # read up to MAX_WORDS
    assert (same[0] - same[2]).abs().max() > 0.01


def test_each_part_learns_from_the_captions_that_have_it():
    encoder = make()
    encoder(["squat"]).square().sum().backward()
    moved = encoder.parts.weight.grad.abs().sum(dim=1) > 0
    assert moved.nonzero()[:, 0].tolist() == sorted({*hashed_word("squat", 512), 512})
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_heads_divide_the_width():
    with pytest.raises(ValueError, match="size=16 does not divide by num_heads=3"):
        make(num_heads=3)


# The cache


def embed(calls):
    def compute(texts):
        calls.append(texts)
        return torch.tensor([[len(text), zlib.crc32(text.encode()) % 97] for text in texts]).double()

    return compute


def test_each_text_is_embedded_once_for_all(tmp_path):
    path, calls = tmp_path / "text" / "model.npz", []
    cache = TextCache(path, embed(calls))
    first = cache([*TEXTS, TEXTS[0]])
    assert first.dtype == torch.float32
    assert torch.equal(first, embed([])([*TEXTS, TEXTS[0]]).float())
    assert torch.equal(cache(TEXTS), first[:3])
    again = TextCache(path, embed(calls))  # another process
    assert torch.equal(again(TEXTS[::-1]), first[:3].flip(0))
    again(["new 字", TEXTS[0]])
    assert calls == [TEXTS, ["new 字"]]
    cache(["of the first process"])  # which loses nothing that the other one wrote
    third = []
    TextCache(path, embed(third))([*TEXTS, "new 字", "of the first process"])
    assert third == []
    assert {p.name for p in path.parent.iterdir()} <= {"model.npz", "model.lock"}


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "empty"])
def test_a_damaged_cache_is_noticed_and_made_anew(tmp_path, damage):
    path = tmp_path / "model.npz"
    good = TextCache(path, embed([]))(TEXTS)
    data = bytearray(path.read_bytes())
    place = data.index(good.numpy().tobytes())
    flipped = bytes(data[:place]) + bytes([data[place] ^ 1]) + bytes(data[place + 1 :])
    path.write_bytes({"cut": bytes(data[: len(data) // 2]), "flipped": flipped, "other": b"text", "empty": b""}[damage])
    calls = []
    with pytest.warns(UserWarning, match=r"model\.npz is damaged"):
        assert torch.equal(TextCache(path, embed(calls))(TEXTS), good)
    assert calls == [TEXTS]
    assert torch.equal(TextCache(path, embed([]))(TEXTS), good)


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    TextCache(path, embed([]))(TEXTS)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match=r"Cannot keep embeddings in .*No space left.*cache_dir"):
        TextCache(path, embed([]))(["another"])
    assert path.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} <= {"model.npz", "model.lock"}


def test_the_cache_lies_where_it_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("LITMOTIF_CACHE", str(tmp_path))
    assert cache_folder(None, "text") == tmp_path / "text"
    assert cache_folder("elsewhere", "text").parts == ("elsewhere", "text")


# Frozen models


def test_a_folder_without_a_model_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json.*hashed"):
        FrozenTextEncoder(str(tmp_path))


def test_without_transformers_the_error_names_it_and_the_folder(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=rf"{tmp_path.name}.*litmotif\[text\]"):
        FrozenTextEncoder(str(tmp_path))(["a person walks"])


def test_the_hash_of_a_folder_is_that_of_its_content(tmp_path):
    hashes = []
    for name, weights in (("one", "w"), ("two", "w"), ("three", "v")):
        (tmp_path / name / "1_Pooling").mkdir(parents=True)
        (tmp_path / name / "model.safetensors").write_text(weights)
        (tmp_path / name / "1_Pooling" / "config.json").write_text("{}")
        hashes.append(folder_hash(tmp_path / name))
    assert hashes[0] == hashes[1] != hashes[2]
    (tmp_path / "two" / "1_Pooling" / "config.json").write_text("{ }")
    assert folder_hash(tmp_path / "two") != hashes[1]


def vocabulary():
    return [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcdefghijklmnopqrstuvwxyz",
        *(f"##{c}" for c in "acdeghiklnoprstuvwy"),
    ]


@pytest.fixture
def bert(tmp_path):
    """A folder as sentence-transformers writes it, of a tiny model with random weights."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary()),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=24,
    )
    folder = tmp_path / "bert"
    transformers.BertModel(config).eval().save_pretrained(folder)
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary()))
    transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(folder)
    return folder


def test_a_frozen_model_gives_its_own_mean_of_tokens(bert, tmp_path):
    transformers = pytest.importorskip("transformers")
    encoder = FrozenTextEncoder(str(bert), str(tmp_path))
    tokenizer, model = transformers.AutoTokenizer.from_pretrained(bert), transformers.AutoModel.from_pretrained(bert)
    rows = encoder(["walk", "turn left now", "go " * 40])
    for text, row in zip(["walk", "turn left now"], rows, strict=False):
        with torch.no_grad():
            expected = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)
    assert encoder.size == 8
    assert copy.deepcopy(encoder) is encoder
    (bert / "1_Pooling").mkdir()
    (bert / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    (bert / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Normalize"}]))
    first = FrozenTextEncoder(str(bert), str(tmp_path))(["walk"])
    with torch.no_grad():
        expected = model(**tokenizer("walk", return_tensors="pt")).last_hidden_state[:, 0]
    torch.testing.assert_close(first, expected / expected.norm(), rtol=1e-4, atol=1e-5)


def test_what_is_cached_needs_no_transformers(bert, tmp_path, monkeypatch):
    known = FrozenTextEncoder(str(bert), str(tmp_path))(["walk"])
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert torch.equal(FrozenTextEncoder(str(bert), str(tmp_path))(["walk"]), known)


def test_clip_gives_its_projected_text(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    pairs = {
        "vocab_size": 60,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    text = pairs | {"max_position_embeddings": 12, "eos_token_id": 3, "bos_token_id": 2}
    vision = pairs | {"image_size": 8, "patch_size": 4}
    vision.pop("vocab_size")
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=6)
    folder = tmp_path / "clip"
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(folder)
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary()))
    tokenizer = transformers.BertTokenizerFast(str(tmp_path / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    found = FrozenTextEncoder(str(folder), str(tmp_path))(["walk", "a b c d e f g h i j k l m n"])
    assert found.shape == (2, 6)
    with torch.no_grad():
        tokens = tokenizer(["walk"], return_tensors="pt")
        hidden = model.text_model(**{k: tokens[k] for k in ("input_ids", "attention_mask")})
        expected = model.text_projection(hidden.pooler_output)
    torch.testing.assert_close(found[:1], expected, rtol=1e-4, atol=1e-5)
