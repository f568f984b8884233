"""Checkpoints as people have them: the result is what the loaded models give, or there is a clear refusal."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from components.errors import BadCheckpoint, BadParameter, BadReference, Incompatible
from components.judging.gate import decide_gate
from components.judging.paired import Estimate
from components.references.open import open_source
from pipelines.cli.transfer import verify_reference
from tests.support.loaded_models import (
    ROWS,
    assert_as_loaded,
    build,
    edit,
    load,
    moved,
    save,
    store,
    three,
    transfer,
    weights,
)
from tests.support.tinymodels import WORDS

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 99\n"

ARCHITECTURES = {
    "llama": {},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 8},
    "mistral": {},
    "gemma2": {"head_dim": 8},
    "phi3": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "gpt_neox": {"num_key_value_heads": None},
    "olmo2": {},
    "mixtral": {"num_local_experts": 4},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
}


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_architectures(tmp_path, model_type):
    values = {key: value for key, value in ARCHITECTURES[model_type].items() if value is not None}
    if model_type in ("gpt2", "gpt_neox", "opt"):
        values |= {"num_key_value_heads": 4}
    folders = three(tmp_path, build(model_type, **values))
    told = transfer(folders, tmp_path / "out")
    assert_as_loaded(folders, tmp_path / "out")
    assert not told.warnings


class TestHeads:
    def test_a_head_that_was_trained_apart_although_the_config_ties_it(self, tmp_path):
        folders = three(tmp_path, build("llama", tie_word_embeddings=True))
        stored = weights(folders[1])
        head = stored["model.embed_tokens.weight"] + 0.1
        store(folders[1], stored | {"lm_head.weight": head})
        told = transfer(folders, tmp_path / "out")
        made = assert_as_loaded(folders, tmp_path / "out")
        assert not torch.equal(made.lm_head.weight, made.model.embed_tokens.weight)
        assert json.loads((tmp_path / "out/config.json").read_text())["tie_word_embeddings"] is False
        assert any("head" in note for note in told.notes)

    @pytest.mark.parametrize("which", range(3))
    def test_a_head_that_stands_for_the_embeddings(self, tmp_path, which):
        folders = three(tmp_path, build("llama", tie_word_embeddings=True))
        transfer(folders, tmp_path / "both")
        stored = weights(folders[which])
        inputs = stored.pop("model.embed_tokens.weight")
        store(folders[which], stored | {"lm_head.weight": inputs})
        transfer(folders, tmp_path / "out")
        found = weights(tmp_path / "out")["lm_head.weight" if which == 2 else "model.embed_tokens.weight"]
        assert torch.equal(found, weights(tmp_path / "both")["model.embed_tokens.weight"])

    def test_a_trained_head_where_the_class_ties_it(self, tmp_path):
        folders = three(tmp_path, build("gpt2", **ARCHITECTURES["gpt2"]))
        for folder in folders:
            edit(folder / "config.json", tie_word_embeddings=...)
        stored = weights(folders[1])
        store(folders[1], stored | {"lm_head.weight": stored["transformer.wte.weight"] + 0.1})
        transfer(folders, tmp_path / "out")
        assert_as_loaded(folders, tmp_path / "out")

    def test_one_changed_row_is_enough(self, tmp_path):
        folders = three(tmp_path, build("llama", tie_word_embeddings=True))
        stored = weights(folders[1])
        head = stored["model.embed_tokens.weight"].clone()
        head[-1] += 1
        store(folders[1], stored | {"lm_head.weight": head})
        transfer(folders, tmp_path / "out")
        assert_as_loaded(folders, tmp_path / "out")

    @pytest.mark.parametrize(
        ("model_type", "values"),
        [("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}), ("gemma2", {"head_dim": 8})],
    )
    def test_a_copy_makes_no_difference(self, tmp_path, model_type, values):
        folders = three(tmp_path, build(model_type, **values))
        for folder in folders:
            edit(folder / "config.json", tie_word_embeddings=...)
        transfer(folders, tmp_path / "without")
        stored = weights(folders[1])
        inputs = next(value for name, value in stored.items() if name.endswith(("wte.weight", "embed_tokens.weight")))
        store(folders[1], stored | {"lm_head.weight": inputs.clone()})
        told = transfer(folders, tmp_path / "out")
        for name in ("model.safetensors", "config.json"):
            assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()
        assert not told.notes

    def test_only_the_target_is_untied(self, tmp_path):
        base = build("llama", tie_word_embeddings=True)
        target = build("llama", seed=1, tie_word_embeddings=False)
        folders = three(tmp_path, base, target=target)
        transfer(folders, tmp_path / "out")
        assert_as_loaded(folders, tmp_path / "out")

    def test_a_trained_head_with_another_scale(self, tmp_path):
        folders = three(tmp_path, build("llama", tie_word_embeddings=True))
        stored = weights(folders[1])
        store(folders[1], stored | {"lm_head.weight": stored["model.embed_tokens.weight"] + 0.1})
        transfer(folders, tmp_path / "out", scale="0.5")
        assert_as_loaded(folders, tmp_path / "out", scale=0.5)

    def test_a_config_without_a_tie_and_a_checkpoint_without_a_head(self, tmp_path):
        folders = three(tmp_path, build("llama", tie_word_embeddings=False))
        stored = weights(folders[1])
        stored.pop("lm_head.weight")
        store(folders[1], stored)
        with pytest.raises(Incompatible, match="no head is stored"):
            transfer(folders, tmp_path / "out")


class TestRows:
    @pytest.mark.parametrize("scale", ["1", "0.5", "0"])
    def test_tokens_of_the_fine_tune_are_its_own_whatever_the_scale_is(self, tmp_path, scale):
        base = build("llama")
        tuned = moved(base, 2, 2e-3)
        tuned.resize_token_embeddings(ROWS + 3, mean_resizing=False)
        folders = three(tmp_path, base, tuned=tuned)
        save(tuned, folders[1], vocab=(*WORDS, "one", "two", "three"))
        told = transfer(folders, tmp_path / "out", scale=scale)
        made = assert_as_loaded(folders, tmp_path / "out", scale=float(scale))
        assert made.config.vocab_size == ROWS + 3
        assert any(f"{ROWS + 3}" in note and "own" in note for note in told.notes)

    def test_padding_that_the_fine_tune_cut(self, tmp_path):
        base = build("llama", vocab_size=ROWS + 10)
        tuned = moved(base, 2, 2e-3)
        tuned.resize_token_embeddings(ROWS)
        folders = three(tmp_path, base, tuned=tuned)
        transfer(folders, tmp_path / "out")
        assert assert_as_loaded(folders, tmp_path / "out").config.vocab_size == ROWS + 10

    def test_a_larger_release_with_tokens_where_the_fine_tune_has_others(self, tmp_path):
        base = build("llama")
        tuned, target = moved(base, 2, 2e-3), moved(base, 3, 4e-3)
        tuned.resize_token_embeddings(ROWS + 2, mean_resizing=False)
        target.resize_token_embeddings(ROWS + 5, mean_resizing=False)
        folders = three(tmp_path, base, tuned=tuned, target=target)
        save(tuned, folders[1], vocab=(*WORDS, "call", "tool"))
        save(target, folders[2], vocab=(*WORDS, "a", "b", "c", "d", "e"))
        transfer(folders, tmp_path / "out")
        assert_as_loaded(folders, tmp_path / "out")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
        assert tokenizer.convert_tokens_to_ids("▁call") == ROWS

    def test_other_sizes_that_are_no_rows_are_refused(self, tmp_path):
        folders = three(tmp_path, build("llama"), tuned=build("llama", intermediate_size=48))
        with pytest.raises(Incompatible, match=r"down_proj\.weight: \[32, 64\]"):
            transfer(folders, tmp_path / "out")


class TestStopTokens:
    def test_the_fine_tunes_config_against_the_targets_generation_config(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        edit(folders[1] / "config.json", eos_token_id=5)
        (folders[1] / "generation_config.json").unlink()
        edit(folders[2] / "generation_config.json", temperature=0.6, do_sample=True)
        transfer(folders, tmp_path / "out")
        made = load(tmp_path / "out")
        assert made.generation_config.eos_token_id == 5
        assert made.config.eos_token_id == 5
        assert made.generation_config.temperature == 0.6

    def test_a_fine_tune_whose_tokenizer_alone_says_it(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        edit(folders[1] / "config.json", eos_token_id=None)
        (folders[1] / "generation_config.json").unlink()
        edit(folders[1] / "tokenizer_config.json", eos_token="<|user|>")
        transfer(folders, tmp_path / "out")
        assert load(tmp_path / "out").generation_config.eos_token_id == 2

    def test_files_of_the_fine_tune_that_disagree_are_told(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        edit(folders[1] / "tokenizer_config.json", eos_token="<|user|>")
        told = transfer(folders, tmp_path / "out")
        assert any("disagree" in note and "[2]" in note for note in told.notes)


class TestBelonging:
    def test_another_base(self, tmp_path):
        folders = three(tmp_path, build("llama"), tuned=build("llama", seed=7))
        told = transfer(folders, tmp_path / "out")
        assert any("does not look like one of this source base" in warning for warning in told.warnings)

    def test_bases_exchanged(self, tmp_path):
        base = build("llama")
        folders = three(tmp_path, base, target=moved(base, 3, 1e-2))
        told = transfer([folders[2], folders[1], folders[0]], tmp_path / "out")
        assert any("nearer to the target" in warning for warning in told.warnings)

    def test_one_checkpoint_twice(self, tmp_path):
        base = build("llama")
        folders = three(tmp_path, base, tuned=base)
        told = transfer(folders, tmp_path / "out")
        assert any("equals its base" in warning for warning in told.warnings)

    def test_a_template_in_the_base_alone(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        edit(folders[1] / "tokenizer_config.json", chat_template=...)
        told = transfer(folders, tmp_path / "out")
        assert any("chat template" in warning for warning in told.warnings)

    def test_three_that_do(self, tmp_path):
        told = transfer(three(tmp_path, build("llama")), tmp_path / "out")
        assert not told.warnings

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    @pytest.mark.parametrize("which", range(3))
    def test_weights_that_are_no_numbers(self, tmp_path, which, number):
        folders = three(tmp_path, build("llama"))
        stored = weights(folders[which])
        stored["model.layers.1.mlp.up_proj.weight"][3, 3] = number
        store(folders[which], stored)
        told = transfer(folders, tmp_path / "out")
        assert any("NaN or infinite" in warning and "up_proj" in warning for warning in told.warnings)


class TestNotANumber:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
    def test_verify_counts_them_by_tensor(self, tmp_path, dtype):
        (folder,) = three(tmp_path, build("llama"))[:1]
        stored = {name: value.to(dtype) for name, value in weights(folder).items()}
        stored["model.norm.weight"][[2, 5, 7]] = torch.tensor([float("nan"), float("inf"), -float("inf")], dtype=dtype)
        store(folder, stored)
        _, _, nonfinite = verify_reference(str(folder))
        assert nonfinite == {"model.norm.weight": 3}

    def test_they_fail_the_gate_whatever_the_scores_are(self):
        better = Estimate(value=0.6, low=0.5, high=0.7)
        assert decide_gate(against_base=better, against_rival=better).passed
        gate = decide_gate(against_base=better, against_rival=better, nonfinite=1)
        assert not gate.passed
        assert "NaN or infinite" in gate.reason


class TestWhereModelsAre:
    def test_spaces_and_line_ends_around_a_name(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        transfer([f" {folders[0]}\n", folders[1], f"{folders[2]} "], tmp_path / "out")
        assert_as_loaded(folders, tmp_path / "out")

    def test_a_path_below_a_folder_that_ends_in_a_mistake(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "models").mkdir()
        with pytest.raises(BadReference, match="there is no folder models/base") as error:
            open_source("models/base")
        assert "hub:models/base" in error.value.hint

    def test_the_hubs_cache_without_a_network(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        repo = tmp_path / "hub/models--some--model"
        (repo / "refs").mkdir(parents=True)
        (repo / "refs/main").write_text("0" * 40)
        (repo / "snapshots" / ("0" * 40)).mkdir(parents=True)
        (repo / "snapshots" / ("0" * 40) / "config.json").write_text("{}")
        assert [file.path for file in open_source("some/model").files()] == ["config.json"]
        assert [file.path for file in open_source("hub:some/model@main").files()] == ["config.json"]
        with pytest.raises(BadReference, match="HF_HUB_OFFLINE"):
            open_source("some/other")

    def test_an_output_in_a_bucket_makes_no_folder_of_that_name(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(BadParameter, match="writes to folders"):
            transfer(["a", "b", "c"], Path("s3://bucket/out"))
        assert not list(tmp_path.iterdir())


class TestNames:
    def test_a_prefix_that_transformers_leaves_out(self, tmp_path):
        values = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
        folders = three(tmp_path, build("gpt2", **values))
        store(folders[1], {name.removeprefix("transformer."): value for name, value in weights(folders[1]).items()})
        told = transfer(folders, tmp_path / "out")
        assert_as_loaded(folders, tmp_path / "out")
        assert sum("other names" in note for note in told.notes) == 1

    @pytest.mark.parametrize("wrapper", ["_orig_mod.", "module.", "_fsdp_wrapped_module."])
    def test_names_under_which_no_loader_finds_a_model(self, tmp_path, wrapper):
        folders = three(tmp_path, build("llama"))
        store(folders[1], {wrapper + name: value for name, value in weights(folders[1]).items()})
        with pytest.raises(Incompatible, match=f"prefix {wrapper}") as error:
            transfer(folders, tmp_path / "out")
        assert len(str(error.value).splitlines()) == 2

    @pytest.mark.parametrize("fused", ["tuned", "target"])
    def test_experts_in_one_tensor_and_one_a_tensor(self, tmp_path, fused):
        values = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8}
        folders = three(tmp_path, build("qwen3_moe", **values))
        folder = tmp_path / fused
        apart = weights(folder)
        assert "model.layers.0.mlp.experts.3.up_proj.weight" in apart
        together = {name: value for name, value in apart.items() if ".experts." not in name}
        for layer in range(2):
            where = f"model.layers.{layer}.mlp.experts"
            one = [
                torch.cat([apart[f"{where}.{number}.{kind}.weight"] for kind in ("gate_proj", "up_proj")])
                for number in range(4)
            ]
            together[f"{where}.gate_up_proj"] = torch.stack(one)
            together[f"{where}.down_proj"] = torch.stack([apart[f"{where}.{n}.down_proj.weight"] for n in range(4)])
        store(folder, together)
        transfer(folders, tmp_path / "out")
        assert_as_loaded(folders, tmp_path / "out")

    def test_many_tensors_of_one_model_alone_are_told_in_a_line(self, tmp_path):
        folders = three(tmp_path, build("llama"), tuned=build("llama", num_hidden_layers=3))
        edit(folders[1] / "config.json", num_hidden_layers=3)
        with pytest.raises(Incompatible, match="9 tensors are only in: source fine-tuned") as error:
            transfer(folders, tmp_path / "out")
        assert len(str(error.value).splitlines()) == 3


class TestTensorsWithoutASay:
    @pytest.mark.parametrize("which", range(3))
    def test_rotary_buffers(self, tmp_path, which):
        folders = three(tmp_path, build("llama"))
        buffers = {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": torch.arange(4).float() for n in range(2)}
        store(folders[which], weights(folders[which]) | buffers)
        told = transfer(folders, tmp_path / "out")
        assert_as_loaded(folders, tmp_path / "out")
        assert any("loaders do without" in note for note in told.notes)
        assert (buffers.keys() <= weights(tmp_path / "out").keys()) == (which == 2)

    def test_heads_for_several_tokens(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        store(folders[2], weights(folders[2]) | {"mtp.layers.0.mlp.up_proj.weight": torch.ones(8, 4).bfloat16()})
        transfer(folders, tmp_path / "out")
        assert torch.equal(weights(tmp_path / "out")["mtp.layers.0.mlp.up_proj.weight"], torch.ones(8, 4).bfloat16())


class TestFilesBeside:
    def test_processors_of_any_name_come_along(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        for folder in folders:
            (folder / "video_preprocessor_config.json").write_text(json.dumps({"of": folder.name}))
        (folders[2] / "LICENSE").write_text("free")
        transfer(folders, tmp_path / "out")
        assert json.loads((tmp_path / "out/video_preprocessor_config.json").read_text()) == {"of": "tuned"}
        assert (tmp_path / "out/LICENSE").read_text() == "free"

    def test_the_targets_where_the_fine_tune_has_none_of_that_kind(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        (folders[2] / "processor_config.json").write_text("{}")
        for path in folders[1].glob("tokenizer*"):
            path.unlink()
        (folders[1] / "chat_template.jinja").write_text("{{ messages }}")
        told = transfer(folders, tmp_path / "out")
        names = {path.name for path in (tmp_path / "out").iterdir()}
        assert {"processor_config.json", "tokenizer.json", "chat_template.jinja"} <= names
        assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == "{{ messages }}"
        assert any("no tokenizer" in note for note in told.notes)

    def test_what_is_left_out_is_told(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        (folders[1] / "trainer_state.json").write_text("{}")
        told = transfer(folders, tmp_path / "out")
        assert any("trainer_state.json" in note for note in told.notes)
        assert not (tmp_path / "out/trainer_state.json").exists()

    @pytest.mark.parametrize("content", ["", "{", POINTER])
    def test_a_file_that_is_none_is_refused_by_name(self, tmp_path, content):
        folders = three(tmp_path, build("llama"))
        (folders[1] / "preprocessor_config.json").write_text(content)
        with pytest.raises(BadCheckpoint, match=r"preprocessor_config\.json of .*/tuned"):
            transfer(folders, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_link_to_nothing(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        (folders[1] / "processor_config.json").symlink_to("gone")
        with pytest.raises(BadCheckpoint, match=r"processor_config\.json is a link to gone"):
            transfer(folders, tmp_path / "out")

    def test_code_that_the_result_needs(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        for folder in folders:
            edit(folder / "config.json", model_type="mine", auto_map={"AutoConfig": "configuration_mine.Mine"})
        assert any("configuration_mine.py" in text for text in transfer(folders, tmp_path / "out").warnings)

    def test_code_for_a_model_that_transformers_has(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        for folder in folders:
            edit(folder / "config.json", auto_map={"AutoConfig": "configuration_llama.LlamaConfig"})
        transfer(folders, tmp_path / "out")
        assert "auto_map" not in json.loads((tmp_path / "out/config.json").read_text())
        assert_as_loaded(folders, tmp_path / "out")


class TestNested:
    def gemma(self, seed=1):
        torch.manual_seed(seed)
        text = {
            "vocab_size": ROWS,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 64,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 4,
        }
        vision = {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 8,
        }
        config = AutoConfig.for_model("gemma3", text_config=text, vision_config=vision, mm_tokens_per_image=4)
        return AutoModelForCausalLM.from_config(config).to(torch.bfloat16)

    def test_more_tokens_in_a_multimodal_model(self, tmp_path):
        base = self.gemma()
        tuned = moved(base, 2, 2e-3)
        tuned.resize_token_embeddings(ROWS + 6, mean_resizing=False)
        folders = three(tmp_path, base, tuned=tuned)
        transfer(folders, tmp_path / "out")
        made = assert_as_loaded(folders, tmp_path / "out")
        assert made.config.get_text_config().vocab_size == ROWS + 6


class TestConfigWords:
    def test_a_wrapper_class_and_no_class(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        edit(folders[0] / "config.json", architectures=[])
        edit(folders[1] / "config.json", architectures=["FSDPLlamaForCausalLM"])
        told = transfer(folders, tmp_path / "out")
        assert_as_loaded(folders, tmp_path / "out")
        assert any("architectures" in note for note in told.notes)

    def test_a_quantization_config_over_plain_floats_names_the_key(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        edit(folders[1] / "config.json", quantization_config={"quant_method": "bitsandbytes"})
        with pytest.raises(Incompatible, match="quantization_config"):
            transfer(folders, tmp_path / "out")

    @pytest.mark.parametrize(
        "values",
        [{"rope_parameters": ..., "rope_theta": 10000}, {"rope_parameters": ..., "rope_scaling": {"type": "default"}}],
    )
    def test_spellings_of_one_rope_are_no_note(self, tmp_path, values):
        folders = three(tmp_path, build("llama"))
        edit(folders[0] / "config.json", **values)
        assert not transfer(folders, tmp_path / "out").notes


class TestDamage:
    def test_placeholders_of_zero_3(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        store(folders[1], {name: torch.zeros(0).bfloat16() for name in weights(folders[1])})
        with pytest.raises(BadCheckpoint, match="ZeRO-3"):
            transfer(folders, tmp_path / "out")

    def test_an_adapter_that_has_a_config(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        (folders[1] / "model.safetensors").rename(folders[1] / "adapter_model.safetensors")
        (folders[1] / "adapter_config.json").write_text("{}")
        with pytest.raises(BadCheckpoint, match="adapter"):
            transfer(folders, tmp_path / "out")

    def test_an_index_of_other_shards(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        (folders[2] / "model.safetensors").rename(folders[2] / "other.safetensors")
        (folders[2] / "model.safetensors.index.json").write_text('{"weight_map": {"a": "gone.safetensors"}}')
        with pytest.raises(BadCheckpoint, match=r"names gone\.safetensors, but there are others") as error:
            transfer(folders, tmp_path / "out")
        assert "cut short" not in str(error.value)


class TestVocabularies:
    def slow(self, folders, orders):
        for folder, order in zip(folders, orders, strict=True):
            tokens = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
            (folder / "tokenizer.json").unlink()
            if order:
                tokens["▁is"], tokens["▁eat"] = tokens["▁eat"], tokens["▁is"]
            (folder / "vocab.json").write_text(json.dumps(tokens))

    def test_words_exchanged_in_a_vocab_json(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        self.slow(folders, (False, True, False))
        with pytest.raises(Incompatible, match="2 ids stand for different tokens"):
            transfer(folders, tmp_path / "out")

    def test_the_same_vocabulary_in_another_file(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        self.slow(folders[:1], (False,))
        assert not transfer(folders, tmp_path / "out").warnings

    def test_sentencepiece(self, tmp_path):
        folders = three(tmp_path, build("llama"))
        for folder, pieces in zip(folders, (["a", "b"], ["a", "b"], ["b", "a"]), strict=True):
            (folder / "tokenizer.json").unlink()
            (folder / "tokenizer.model").write_bytes(b"".join(piece_of(piece) for piece in pieces))
        with pytest.raises(Incompatible, match="source base and the target base: 2 ids"):
            transfer(folders, tmp_path / "out")


def piece_of(text):
    """One piece of a SentencePiece model: field 1 the text, field 2 a score, field 3 its type."""
    raw = text.encode()
    message = b"\x0a" + bytes([len(raw)]) + raw + b"\x15" + np.float32(-1).tobytes() + b"\x18\x01"
    return b"\x0a" + bytes([len(message)]) + message
