"""Make tiny random-weight MiniMax-M2 checkpoints: `make_model.py FOLDER`.

They have the architecture, tensor names and special tokens of MiniMax-M2.5 and none of its knowledge. One sentence is
wired into the weights as the answer to every chat, the rest is random. Needs torch, safetensors and tokenizers (the
lab's server image has them) and no network.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD_DIM, EXPERTS, INTERMEDIATE, VOCABULARY = 2, 128, 4, 2, 64, 8, 64, 512
MAX_POSITIONS = 196608
SPECIAL = ["]!p~[", "]~!b[", "]~b]", "[e~[", "<think>", "</think>", "<minimax:tool_call>", "</minimax:tool_call>"]
BEGIN, END = "]~!b[", "[e~["
CONFIG = {
    "architectures": ["MiniMaxM2ForCausalLM"],
    "model_type": "minimax_m2",
    "dtype": "bfloat16",
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": INTERMEDIATE,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HEAD_DIM,
    "rotary_dim": HEAD_DIM // 2,
    "rope_theta": 5000000,
    "max_position_embeddings": MAX_POSITIONS,
    "num_local_experts": EXPERTS,
    "num_experts_per_tok": 2,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-06,
    "scoring_func": "softmax",  # the real model has sigmoid and a bias: vLLM's CPU backend has neither
    "use_routing_bias": False,
    "use_qk_norm": True,
    "qk_norm_type": "per_layer",
    "tie_word_embeddings": False,
}
ANSWER = "Hello! I am a very small model with random weights and one sentence"
SENTENCES = [
    ANSWER,
    "Hello, who are you? What can you do for me?",
    "The weather in Shanghai is fine today. Please ask for the weather by city.",
    "user system assistant tool response function name parameters city unit celsius fahrenheit",
    '<invoke name="get_current_weather"><parameter name="city">Shanghai</parameter></invoke>',
]
CHAT_TEMPLATE = """{%- if tools %}{{ ']~!b[]~b]system\\n# Tools\\n<tools>\\n' }}
{%- for tool in tools %}{{ '<tool>' + (tool.function | tojson) + '</tool>\\n' }}{% endfor %}
{{- '</tools>\\nCall a tool as <minimax:tool_call><invoke name="NAME"><parameter name="KEY">VALUE</parameter>' }}
{{- '</invoke></minimax:tool_call>[e~[\\n' }}{% else %}{{ ']~!b[' }}{% endif %}
{%- for message in messages %}
{{- ']~b]' + ('ai' if message.role == 'assistant' else message.role) + '\\n' }}
{%- if message.content is string %}{{ message.content }}
{%- elif message.content %}{% for part in message.content %}{{ part.text }}{% endfor %}{% endif %}
{%- for call in message.tool_calls or [] %}
{{- '<minimax:tool_call><invoke name="' + call.function.name + '">' + (call.function.arguments | tojson) }}
{{- '</invoke></minimax:tool_call>' }}
{%- endfor %}{{ '[e~[\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ ']~b]ai\\n<think>\\n' }}{% endif %}"""


def make_tokenizer(folder):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        SENTENCES * 8,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=SPECIAL,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BEGIN,
            "eos_token": END,
            "pad_token": SPECIAL[0],
            "model_max_length": MAX_POSITIONS,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
    )
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return tokenizer


def wired(tokenizer):
    """Embeddings and output layer that make a chain of tokens: what follows the prompt's last newline is ANSWER.

    The first dimension is 1 for every token and never changed by a layer. The output layer uses it to keep tokens
    that are no plain text from being said. The others are random; the row of a token of the chain looks like the
    embedding of the token before it.
    """
    embedding = torch.randn(VOCABULARY, HIDDEN) * 0.3
    embedding[:, 0] = 1
    output = torch.randn(VOCABULARY, HIDDEN) * 0.02
    end = tokenizer.token_to_id(END)
    for token in range(VOCABULARY):
        text = tokenizer.decode([token], skip_special_tokens=True)
        output[token, 0] = 0 if token == end or text.isascii() and text.isprintable() and text else -3
    newline = tokenizer.encode("\n").ids
    chain = newline + [tokenizer.token_to_id("</think>")] + tokenizer.encode(ANSWER).ids + [end]
    if len(set(chain)) != len(chain):
        raise SystemExit("a token stands twice in the wired answer: choose other words")
    for before, after in zip(chain, chain[1:]):
        output[after, 1:] += 0.5 * embedding[before, 1:]
    return embedding.to(torch.bfloat16), output.to(torch.bfloat16)


def tensors(tokenizer):
    """Name -> tensor, as the public checkpoint names them, in the order of the layers."""
    torch.manual_seed(25)
    embedding, output = wired(tokenizer)

    def weight(*shape):
        return (torch.randn(shape) * 0.05).to(torch.bfloat16)

    def into_residual(*shape):
        """Small, so that the wired chain is not drowned, and none for the first dimension."""
        tensor = torch.randn(shape) * 0.005
        tensor[0] = 0
        return tensor.to(torch.bfloat16)

    def ones(size):
        return torch.ones(size, dtype=torch.bfloat16)

    yield "model.embed_tokens.weight", embedding
    for number in range(LAYERS):
        layer = f"model.layers.{number}"
        yield f"{layer}.input_layernorm.weight", ones(HIDDEN)
        yield f"{layer}.post_attention_layernorm.weight", ones(HIDDEN)
        for name, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            yield f"{layer}.self_attn.{name}_proj.weight", weight(heads * HEAD_DIM, HIDDEN)
        yield f"{layer}.self_attn.o_proj.weight", into_residual(HIDDEN, HEADS * HEAD_DIM)
        yield f"{layer}.self_attn.q_norm.weight", ones(HEADS * HEAD_DIM)
        yield f"{layer}.self_attn.k_norm.weight", ones(KV_HEADS * HEAD_DIM)
        yield f"{layer}.block_sparse_moe.gate.weight", weight(EXPERTS, HIDDEN)
        for expert in range(EXPERTS):
            path = f"{layer}.block_sparse_moe.experts.{expert}"
            yield f"{path}.w1.weight", weight(INTERMEDIATE, HIDDEN)
            yield f"{path}.w2.weight", into_residual(HIDDEN, INTERMEDIATE)
            yield f"{path}.w3.weight", weight(INTERMEDIATE, HIDDEN)
    yield "model.norm.weight", ones(HIDDEN)
    yield "lm_head.weight", output


def save_in_two(folder, named):
    """Two shards and the index that says what is in which, so that a completeness check has something to check."""
    half, weight_map = len(named) // 2, {}
    for number, part in ((1, named[:half]), (2, named[half:])):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file(dict(part), folder / file, metadata={"format": "pt"})
        weight_map.update({name: file for name, _ in part})
    size = sum(tensor.numel() * tensor.element_size() for _, tensor in named)
    write(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map})


def write(path, content):
    path.write_text(json.dumps(content, indent=2) + "\n")


def make(folder):
    folder.mkdir(parents=True)
    tokenizer = make_tokenizer(folder)
    begin, end = tokenizer.token_to_id(BEGIN), tokenizer.token_to_id(END)
    write(folder / "config.json", dict(CONFIG, bos_token_id=begin, eos_token_id=end))
    write(
        folder / "generation_config.json",
        {"bos_token_id": begin, "eos_token_id": end, "do_sample": True, "temperature": 1.0, "top_p": 0.95, "top_k": 40},
    )
    save_in_two(folder, list(tensors(tokenizer)))


def make_draft(folder):
    """A placeholder: complete as files go, but no draft model that could run."""
    folder.mkdir(parents=True)
    write(
        folder / "config.json",
        {
            "architectures": ["Eagle3LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": HIDDEN,
            "num_hidden_layers": 1,
            "vocab_size": VOCABULARY,
        },
    )
    save_file({"fc.weight": torch.zeros(HIDDEN, 3 * HIDDEN, dtype=torch.bfloat16)}, folder / "model.safetensors")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    for checkpoint in ("MiniMax-M2.5", "MiniMax-M2.5-w8a8-QuaRot"):
        make(target / checkpoint)
    make_draft(target / "Eagle3")
