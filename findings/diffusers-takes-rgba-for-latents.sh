#!/usr/bin/env bash
# What:     A picture with an alpha channel is no picture to diffusers' image-to-image pipelines of Stable Diffusion: its four channels are as many
#           as those of the latents of the model, so its pixels are taken for latents, and not encoded. The result is a picture of several times the
#           size (8 times with the real models) that has nothing to do with the input, without an error or a warning.
# Versions: diffusers 0.42.1, transformers 5.24.0, torch 2.13.0, pillow 13.0.0; a tiny model with random weights, whose VAE makes things 2 times smaller.
# Expected: the alpha channel dropped, or an error, as for pictures of mode L, LA and P.
# Seen:     32x32 RGB gives 32x32; RGBA, as a PIL image or an array, gives 64x64; L, LA and P: RuntimeError. The encoder of the VAE is called
#           for RGB, and never for RGBA.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check diffusers==0.42.1 transformers==5.24.0 torch==2.13.0 pillow==13.0.0
HF_HUB_OFFLINE=1 timeout 300 venv/bin/python - 2>errors <<'PYTHON' || { tail -5 errors; exit 1; }
import sys

import diffusers
import numpy
import torch
from PIL import Image

torch.manual_seed(0)
unet = diffusers.UNet2DConditionModel(
    sample_size=16,
    block_out_channels=(32, 64),
    layers_per_block=1,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    cross_attention_dim=32,
    norm_num_groups=8,
)
blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
pipe = diffusers.StableDiffusionImg2ImgPipeline(
    vae=diffusers.AutoencoderKL(block_out_channels=(32, 64), norm_num_groups=8, latent_channels=4, **blocks),
    unet=unet,
    scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
    text_encoder=None,
    tokenizer=None,
    safety_checker=None,
    feature_extractor=None,
    requires_safety_checker=False,
)
pipe.set_progress_bar_config(disable=True)
encoded = []
pipe.vae.encoder.register_forward_hook(lambda *_: encoded.append(True))
prompt = {"prompt_embeds": torch.randn(1, 4, 32), "negative_prompt_embeds": torch.randn(1, 4, 32)}
photo = Image.effect_noise((32, 32), 60)
pictures = {mode: photo.convert(mode) for mode in ("RGB", "RGBA", "L", "LA", "P")}
pictures["RGBA as an array"] = numpy.asarray(pictures["RGBA"]) / 255
seen = {}
for name, picture in pictures.items():
    encoded.clear()
    try:
        found = pipe(image=picture, strength=0.5, num_inference_steps=4, **prompt).images[0].size
    except RuntimeError as error:
        found = f"RuntimeError: {error}"
    seen[name] = found, bool(encoded)
    print(f"32x32 {name:17} {found}{', encoded' if encoded else ''}")
failed = [name for name, (found, _) in seen.items() if isinstance(found, str)]
large = seen["RGBA"], seen["RGBA as an array"]
sys.exit(failed != ["L", "LA", "P"] or seen["RGB"] != ((32, 32), True) or large != (((64, 64), False),) * 2)
PYTHON
