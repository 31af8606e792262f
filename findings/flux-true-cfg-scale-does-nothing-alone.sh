#!/usr/bin/env bash
# What:     `true_cfg_scale` and `negative_prompt` of FluxPipeline each need the other: without a negative prompt, 1.0 and 8.0 give the same
#           bytes, and at the default scale of 1.0 a negative prompt changes nothing; neither call raises or logs anything.
# Versions: diffusers 0.42.1, transformers 5.24.0, torch 2.13.0.
# Expected: guidance against an empty prompt, as `guidance_scale` has it in StableDiffusionPipeline; or an error or a warning, as
#           QwenImagePipeline logs one.
# Seen:     equal images but for the call with both; `negative_prompt=""` is enough to switch it on.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check diffusers==0.42.1 transformers==5.24.0 torch==2.13.0
HF_HUB_OFFLINE=1 timeout 300 venv/bin/python - <<'PYTHON'
import json
import logging
import pathlib
import sys

import diffusers
import torch
import transformers

torch.manual_seed(0)
letters = [chr(number) for number in range(33, 127)]
words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
pathlib.Path("vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
pathlib.Path("merges.txt").write_text("#version: 0.2\n")
tokenizer = transformers.CLIPTokenizer("vocab.json", "merges.txt", model_max_length=77)
size = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
clip = transformers.CLIPTextConfig(
    hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, bos_token_id=tokenizer.bos_token_id, **size
)
t5 = transformers.T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, dropout_rate=0.0, **size)
blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
pipe = diffusers.FluxPipeline(
    scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    vae=diffusers.AutoencoderKL(block_out_channels=(4, 4, 8, 8), norm_num_groups=4, shift_factor=0.1, **blocks),
    text_encoder=transformers.CLIPTextModel(clip),
    tokenizer=tokenizer,
    text_encoder_2=transformers.T5EncoderModel(t5),
    tokenizer_2=tokenizer,
    transformer=diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=1,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    ),
)
pipe.set_progress_bar_config(disable=True)
logged = []
handler = logging.Handler()
handler.emit = lambda record: logged.append(record.getMessage())
diffusers.utils.logging.get_logger("diffusers").addHandler(handler)


def made(**more):
    seed = torch.Generator("cpu").manual_seed(1)
    call = {"width": 64, "height": 64, "num_inference_steps": 4, "max_sequence_length": 77, "generator": seed}
    return pipe("a lake", **call, **more).images[0].tobytes()


plain = made()
logged.clear()  # what the first call says of anything else
seen = {
    "true_cfg_scale=8.0": made(true_cfg_scale=8.0) == plain,
    'negative_prompt="fog"': made(negative_prompt="fog") == plain,
    "both": made(true_cfg_scale=8.0, negative_prompt="fog") == plain,
    'true_cfg_scale=8.0, negative_prompt=""': made(true_cfg_scale=8.0, negative_prompt="") == plain,
}
print("same bytes as without:", seen)
print("logged:", logged)
sys.exit(list(seen.values()) != [True, True, False, False] or bool(logged))
PYTHON
