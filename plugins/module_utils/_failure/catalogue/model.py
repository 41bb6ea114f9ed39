# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model and its checkpoint."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.cause import GENERAL, Cause

DAMAGED = "checkpoint damaged or not there"
MISFIT = "checkpoint does not fit"

CAUSES = (
    Cause(
        "model-unknown",
        "model unknown to this image",
        "The vLLM in this image does not know the model<<: {model}>>.",
        "Choose a release that has it with vllm_recipe_release; the recipe's page and vllm-ascend's list of models say from which on.",
        patterns=(
            r"Model architectures \['(?P<model>\w+)'.* (are|is) not supported",
            r"model type `(?P<model>[\w.-]+)`.{0,40}Transformers does not recognize|does not recognize this architecture|Unrecognized configuration class",
            r"Cannot find model module|has no vLLM implementation|Model architecture .{0,60}failed to be inspected",
        ),
        examples=(
            "  Value error, Model architectures ['MiniMaxM3ForCausalLM'] are not supported for now. Supported architectures: "
            "dict_keys(['AquilaModel'])",
        ),
        source="vLLM, model registry",
    ),
    Cause(
        "remote-code",
        "model unknown to this image",
        "The checkpoint brings code of its own, which vLLM may not run.",
        "Set trust-remote-code in vllm_recipe_args, if you trust the checkpoint.",
        patterns=(
            r"(set(ting)?( the option)?|pass) .?trust_remote_code|contains custom code which must be executed|requires you to execute the \w+ file",
        ),
        examples=(
            "ValueError: The repository contains custom code which must be executed to correctly load the model. Set trust_remote_code=True",
        ),
        source="transformers",
    ),
    Cause(
        "checkpoint-damaged",
        DAMAGED,
        "A file of the checkpoint is damaged or incomplete<<: {path}>>.",
        "Compare sizes and sha256 with the source's, and fetch the file again; a file of some 130 bytes is a git-lfs pointer that was "
        "never replaced. preflight.yml checks the sizes (weights.complete).",
        patterns=(
            r"SafetensorError|(Incomplete|invalid|Header)\w*.{0,30}safetensors? ?header|MetadataIncompleteBuffer|HeaderTooLarge|InvalidHeader",
            r"git-lfs\.github\.com|invalid load key, 'v'|PytorchStreamReader failed|unexpected end of (file|data)|Ran out of input"
            r"|file should be of size \d+ but has size",
            r"('(?P<path>/[^']+)' )?is not a valid JSON file|Should have a .model_type. key|could not parse ModelProto from (?P<path>\S+)",
            r"Unable to load weights from \w+ checkpoint file( for '(?P<path>[^']+)')?",
        ),
        examples=(
            "safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, file not fully covered",
        ),
        source="safetensors; git-lfs",
    ),
    Cause(
        "checkpoint-permission",
        DAMAGED,
        "The checkpoint cannot be read<<: {path}>>.",
        "Owner and mode of the folder on the node; on NFS with root squash the files must be readable for all ('chmod -R a+rX').",
        patterns=(
            r"Permission denied: '(?P<path>[^']*(\.safetensors|\.bin|\.json|/models?/|weights|tokenizer)[^']*)'",
            r"Permission denied \(os error 13\)(:? '?(?P<path>/\S+[^\s']))?",
            r"Stale file handle|Input/output error(: '(?P<path>[^']+)')?|Transport endpoint is not connected",
        ),
        examples=("PermissionError: [Errno 13] Permission denied: '/opt/models/M/config.json'",),
        source="Linux",
    ),
    Cause(
        "tokenizer-missing",
        DAMAGED,
        "The tokenizer's files are missing or of another version<<: {path}>>.",
        "tokenizer.json, tokenizer_config.json and what they name belong into the checkpoint's folder; fetch them again. Where the tokenizer "
        "is elsewhere set tokenizer in vllm_recipe_args.",
        patterns=(
            r"Can't load (the )?tokenizer for '(?P<path>[^']+)'",
            r"tokenizer\S*\.(json|model)\b.{0,60}(not found|No such file|missing)|Unable to load vocabulary|Couldn't instantiate the backend tokenizer"
            r"|Tokenizer class \w+ does not exist|untagged enum ModelWrapper|\btiktoken\b.{0,60}(not found|No such|fail)",
        ),
        examples=(
            "OSError: Can't load tokenizer for '/opt/data/models/M'. If you were trying to load it from a hub, make sure you don't have a "
            "local directory with the same name.",
        ),
        source="transformers",
    ),
    Cause(
        "weights-missing",
        DAMAGED,
        "The weights are not where the command looks for them, or are incomplete<<: {path}>>.",
        "Compare vllm_recipe_weights_dir with the directory on the node; it holds one directory per checkpoint.",
        patterns=(
            r"Repo id must be in the form(.*?: '(?P<path>[^']+)')?|Invalid repository ID or local directory(.*?'(?P<path>[^']+)')?",
            r"does not appear to have a file named|Error no file named .* found in directory (?P<path>\S+[^.\s])"
            r"|Cannot find any model weights( with `(?P<path>[^`]+)`)?",
            r"No such file or directory\W+(?P<path>[^'\"]*(\.safetensors|\.index\.json|/config\.json))|not a valid model identifier",
            r"couldn't connect to 'https://huggingface\.co'|LocalEntryNotFoundError|MaxRetryError.*(huggingface|modelscope)"
            r"|HTTPS?ConnectionPool\(host='[^']*(huggingface|modelscope|hf-mirror)"
            r"|CERTIFICATE_VERIFY_FAILED|We couldn't connect to .https://(huggingface|modelscope)",
        ),
        examples=("RuntimeError: Cannot find any model weights with `/opt/models/X`",),
        source="vLLM, transformers",
    ),
    Cause(
        "checkpoint-misfit",
        MISFIT,
        "The checkpoint's tensors do not fit the model<<: {tensor}>>.",
        "The checkpoint is of another quantization or of another version than the command says: compare quantization in vllm_recipe_args and "
        "in the checkpoint's config.json with the recipe; a checkpoint of one's own needs a release that can read it.",
        patterns=(
            r"KeyError: '(?P<tensor>[\w-]+\.[\w.-]*(weight|scale|offset|bias|qzeros)\w*)'",
            r"(size|shape) mismatch|Attempted to load weight|does not match (the )?(shape|size)|The size of tensor a"
            r"|exceeds dimension size|(Missing|Unexpected) key\(s\) in state_dict|assert \w*param\w*\.(size|shape)",
            r"weights were not initialized from checkpoint|There is no module or parameter named '(?P<tensor>[^']+)'",
        ),
        examples=("KeyError: 'model.layers.0.mlp.experts.w13_weight_scale'",),
        source="vLLM, weight loaders",
    ),
    Cause(
        "quantization",
        MISFIT,
        "Quantization of command and checkpoint do not fit.",
        "Set quantization in vllm_recipe_args as the checkpoint needs it: ascend for checkpoints of ModelSlim, none where its config.json "
        "says it.",
        patterns=(
            r"Quantization method specified in the model config|Unknown quantization method|quantization method .{0,40}(not supported|is unknown)"
            r"|\b\w+ quantization is (currently )?not supported|only supports? (the )?following quant"
            r"|Cannot find the config file for|Quantization scheme is not supported|Unsupported quant\w*[_ ](type|method)"
            r"|Detected some but not all shards of|KeyError: '\w*quant\w*'",
            r"(quant_model_description|quantization config)\S*.{0,60}(not found|No such file|missing)|(Could not"
            r"|Cannot) find .{0,40}quant\w*(_description|_config| config)",
        ),
        examples=(
            "  Value error, Quantization method specified in the model config (fp8) does not match the quantization method specified in the "
            "`quantization` argument (ascend).",
        ),
        source="vLLM; vllm-ascend, quantization",
    ),
    Cause(
        "model-length",
        "value refused",
        "max-model-len<< {wanted}>> is more than the model was made for<<, {most}>>.",
        "Lower max-model-len in vllm_recipe_args<< to {most} or less>>.",
        patterns=(
            r"max_model_len \((?P<wanted>\d+)\) is greater than the derived max_model_len \(\D*(?P<most>\d+)",
            r"max_model_len .{0,40}is greater than the derived",
        ),
        examples=(
            "  Value error, User-specified max_model_len (400000) is greater than the derived max_model_len "
            "(max_position_embeddings=196608 or model_max_length=None in model's config.json).",
        ),
        source="vLLM, model config",
    ),
    Cause(
        "slow-weights",
        "slow weights",
        "An engine was not ready in time; mostly it still loads weights from a slow disk or share.",
        "Raise VLLM_ENGINE_READY_TIMEOUT_S in vllm_recipe_env (seconds, 600 unless set) above the time that loading takes, and "
        "vllm_service_ready_timeout with it. Look for an earlier error of another node first.",
        patterns=(
            r"VLLM_ENGINE_READY_TIMEOUT_S|Timed out waiting for engines? to (send|start)|Timed out waiting for engine core"
            r"|Timeout waiting for .{0,40}(load|weights)",
        ),
        rank=GENERAL,
        examples=("RuntimeError: Timed out waiting for engines to send initial message on input socket.",),
        source="vLLM, environment variables",
    ),
)
