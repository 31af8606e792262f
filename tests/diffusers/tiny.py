"""Tiny models with random weights, written as real ones are: Stable Diffusion, Qwen-Image and Flux Kontext."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers

import diffusers


def save_stable_diffusion(folder: Path) -> None:
    """A U-Net with a CLIP text encoder, which makes 64x64 by default; 0.5 MB."""
    torch.manual_seed(0)
    tokenizer = _clip_tokenizer(folder)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=8,
        norm_num_groups=4,
    )
    pipe = diffusers.StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=_clip(tokenizer),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=diffusers.DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder)


def _vae(**more: Any) -> Any:
    return diffusers.AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(4, 4, 8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=64,
        **more,
    )


def _clip(tokenizer: Any) -> Any:
    return transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def _clip_tokenizer(folder: Path) -> Any:
    letters = [chr(number) for number in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    return transformers.CLIPTokenizer(*_written(folder, vocabulary), model_max_length=77)


def _written(folder: Path, vocabulary: dict[str, int]) -> tuple[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    words, merges = folder / "vocab.json", folder / "merges.txt"
    words.write_text(json.dumps(vocabulary))
    merges.write_text("#version: 0.2\n")
    return str(words), str(merges)


_MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")


def save_qwen_image(folder: Path, pipeline: str = "QwenImagePipeline") -> None:
    """A transformer with flow matching and a Qwen2.5-VL text encoder, which makes 1024x1024 by default; 1 MB."""
    torch.manual_seed(0)
    transformer = diffusers.QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(8, 4, 4),
    )
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    tokenizer = _qwen_tokenizer(folder)
    ids = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in _MARKS}
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default"},
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
            "fullatt_block_indexes": [0],
        },
        image_token_id=ids["<|image_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    parts: dict[str, Any] = {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
        "vae": vae,
        "text_encoder": transformers.Qwen2_5_VLForConditionalGeneration(config),
        "tokenizer": tokenizer,
        "transformer": transformer,
    }
    getattr(diffusers, pipeline)(**parts).save_pretrained(folder)


def save_flux_kontext(folder: Path) -> None:
    """A pipeline that edits, with distilled guidance, a CLIP and a T5 text encoder; 0.3 MB."""
    torch.manual_seed(0)
    tokenizer = _clip_tokenizer(folder)
    t5 = transformers.T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    transformer = diffusers.FluxTransformer2DModel(
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
    )
    pipe = diffusers.FluxKontextPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=_vae(shift_factor=0.1),
        text_encoder=_clip(tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=transformers.T5EncoderModel(t5),
        tokenizer_2=tokenizer,
        transformer=transformer,
    )
    pipe.save_pretrained(folder)


def _qwen_tokenizer(folder: Path) -> Any:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    words = [*bytes_to_unicode().values(), *_MARKS]
    vocabulary = {word: number for number, word in enumerate(words)}
    return transformers.Qwen2Tokenizer(*_written(folder, vocabulary), additional_special_tokens=list(_MARKS[1:]))
