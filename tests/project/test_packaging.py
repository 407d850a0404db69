"""What is installed: the lists of requirements, the wheel, and the wheel at work in another environment."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from rinalmo_kit.inference.energies import PACKAGES
from tests.helpers.lab import environment

pytestmark = pytest.mark.xdist_group("wheel")  # what is made once serves all

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, WHEEL = PYPROJECT["project"], PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
EXTRAS = PROJECT["optional-dependencies"]
MEGABYTE = 10**6

# What the user asked for by name, flash-attn apart: it needs a GPU and a compiler.
ASKED_FOR = "torch jupyterlab ipywidgets matplotlib seaborn scikit-learn openTSNE forgi pandas".split()
HEAVY = "pandas sklearn lightning IPython ipywidgets matplotlib forgi openTSNE flash_attn seaborn pyarrow RNA".split()
HEAVY += ["multimolecule", "transformers"]


def requirements(*extras: str) -> list[Requirement]:
    """Requirements of the core install with extras, an extra that names others resolved."""
    found = [Requirement(text) for text in PROJECT["dependencies"]]
    for extra in extras:
        for requirement in map(Requirement, EXTRAS[extra]):
            found += (
                requirements(*requirement.extras) if requirement.name == PROJECT["name"] else [requirement]
            )
    return found


def names(found: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in found}


def minor_versions(specifier: str) -> list[str]:
    return [v for v in (f"3.{minor}" for minor in range(8, 30)) if f"{v}.99" in SpecifierSet(specifier)]


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{done.args} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


# requirements


def test_conda_file_agrees_with_pyproject():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    *packages, pip = conda["dependencies"]
    python = next(p.removeprefix("python") for p in packages if p.startswith("python"))
    assert {re.split("[<>=]", p)[0] for p in packages} == {"python", "pip"}, (
        "the rest belongs to pyproject.toml"
    )
    (own,) = pip["pip"]
    assert own.startswith("-e .[")
    extras = re.findall(r"\w+", own.removeprefix("-e "))
    allowed = minor_versions(python)
    assert allowed and set(allowed) <= set(minor_versions(PROJECT["requires-python"]))
    assert set(extras) <= set(EXTRAS)
    for version in allowed:
        here = {"python_version": version, "sys_platform": "linux"}
        got = names([r for r in requirements(*extras) if not r.marker or r.marker.evaluate(here)])
        assert {canonicalize_name(name) for name in ASKED_FOR} <= got


def test_what_was_asked_for_is_covered():
    assert {canonicalize_name(name) for name in ASKED_FOR} <= names(requirements("all"))
    assert "flash-attn" in names(requirements("flash"))
    assert "flash-attn" not in names(requirements("all", "dev")), "it cannot be built without CUDA"


def test_no_torchvision():
    every = names([r for extra in EXTRAS for r in requirements(extra)])
    assert not every & {"torchvision", "torchaudio", "litdata"}, (
        "a torchvision of another build breaks lightning"
    )


def test_all_is_all_but_what_few_need():
    assert names(requirements("all")) == names(
        requirements(*(set(EXTRAS) - {"all", "dev", "docs", "flash", "hub", "maps", "onnx", "peers"}))
    )


def test_agpl_is_in_no_extra_for_users_but_its_own():
    holding = {extra for extra in EXTRAS if "multimolecule" in names(requirements(extra))}
    assert holding == {"peers", "dev"}


def test_python_versions_agree():
    stated = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert stated == minor_versions(PROJECT["requires-python"])


def test_extras_named_in_messages_exist():
    files = [*(ROOT / "rinalmo_kit").rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    files += (ROOT / "notebooks").glob("*.ipynb")
    for file in files:
        for extras in re.findall(r"rinalmo-kit\[([\w,-]+)\]", file.read_text()):
            assert set(extras.split(",")) <= set(EXTRAS), f"{file.name}: rinalmo-kit[{extras}]"


MODULE_OF = {
    "ipython": "IPython",
    "scikit-learn": "sklearn",
    "viennarna": "RNA",
    "flash-attn": "flash_attn",
    "jupyter-scatter": "jscatter",
    "opentsne": "openTSNE",
}
NOT_IMPORTED = {"jupyterlab", "ipykernel", "voila"}  # programs that are run
NOT_IMPORTED |= {
    "ipywidgets",
    "tensorboard",
    "transformers",
}  # anywidget, Lightning and multimolecule import them


def imported(*folders: str) -> set[str]:
    """Names of the modules of other projects that the files of some folders import, at whatever place."""
    found = set()
    for folder in folders:
        for file in (ROOT / folder).rglob("*"):
            if file.suffix == ".ipynb":
                cells = json.loads(file.read_text())["cells"]
                code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
            elif file.suffix == ".py":
                code = file.read_text()
            else:
                continue
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    found.add(str(node.module).partition(".")[0])
                elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("importing", "optional"):
                    if node.args and isinstance(node.args[0], ast.Constant):
                        found.add(str(node.args[0].value).partition(".")[0])
    if "rinalmo_kit" in folders:
        found |= {module for module, *_ in PACKAGES.values()}  # imported by the name that is asked for
    return found - sys.stdlib_module_names - {"rinalmo_kit", "reproduction"}


def modules(*extras: str) -> set[str]:
    """Names under which the requirements are imported."""
    return {MODULE_OF.get(name, name.replace("-", "_")) for name in names(requirements(*extras))}


def test_what_is_imported_is_declared():
    used_where_installed = {"linearpartition"}
    assert imported("rinalmo_kit") - used_where_installed <= modules(
        "all", "peers", "flash", "hub", "maps", "onnx"
    )


def test_what_is_declared_is_used():
    used = imported("rinalmo_kit", "notebooks", "reproduction")
    assert modules("all", "peers") - NOT_IMPORTED <= used


def test_version_is_stated_once():
    assert "version" in PROJECT["dynamic"] and "version" not in PROJECT
    source = "\n".join(file.read_text() for file in (ROOT / "rinalmo_kit").rglob("*.py"))
    assert len(re.findall(r"^\s*(?:__version__|VERSION)\s*=", source, re.MULTILINE)) == 1


# import


def test_import_is_light():
    code = "import sys, rinalmo_kit; print(*sys.modules)"
    loaded = run(sys.executable, "-c", code, env=environment()).split()
    assert "torch" in loaded and not {*HEAVY} & {*loaded}


def test_folds_and_embeds_without_extras():
    wanted = {canonicalize_name(r.name) for r in requirements()}
    absent = [name for name in HEAVY if name not in wanted]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({absent}))  # importing one of them is an error from now on
import rinalmo_kit as rk
structure = rk.fold("GGGGAAAACCCC")
structure._repr_html_(), structure.plot(), rk.embed("GGGGAAAACCCC"), rk.predict("GGGGAAAACCCC"), rk.models()
for name in ["finetune", "widgets"]:
    try:
        getattr(rk, name)
    except ImportError as error:
        print(error)
"""
    training, widgets = run(sys.executable, "-c", code, env=environment()).splitlines()
    assert "rinalmo-kit[training]" in training and "rinalmo-kit[notebooks]" in widgets


# the wheel


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the wheel, built from the source distribution as a package index would get it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    (found,) = folder.glob("*.whl")
    return found


def test_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    inside = {name for name in held if ".dist-info/" not in name}
    folders = {
        "rinalmo_kit": "rinalmo_kit",
        **WHEEL.get("force-include", {}),
    }  # in the repository: in the wheel
    files = {target for source, target in folders.items() if (ROOT / source).is_file()}
    assert inside == files | {
        f"{target}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, target in folders.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in inside if "/measured/" in name} == {"rinalmo_kit/data/measured/model_scores.csv"}
    assert "rinalmo_kit/py.typed" in inside
    assert any(re.fullmatch(r"rinalmo_kit/weights/[^/]+\.safetensors", name) for name in inside)
    assert any(name.endswith("LICENSE") for name in held - inside)


def test_source_distribution_holds_no_run_and_no_environment(wheel):
    (archive,) = wheel.parent.glob("*.tar.gz")
    assert archive.stat().st_size < 60 * MEGABYTE
    top = {name.split("/")[1] for name in run("tar", "-tzf", archive).splitlines()}
    assert {"rinalmo_kit", "tests", "pyproject.toml", "README.md", "LICENSE"} <= top
    assert not top & {"runs", ".venv", ".git", "dist"}


def test_files_are_small():
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    listed = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split(
        "\0"
    )
    sizes = {name: (ROOT / name).stat().st_size for name in listed if (ROOT / name).is_file()}
    assert {name: size for name, size in sizes.items() if size > 16 * MEGABYTE} == {}
    assert sum(size for name, size in sizes.items() if name.endswith(".safetensors")) <= 48 * MEGABYTE


@pytest.fixture(scope="session")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bin`` of a new environment with the wheel in it; what the wheel needs is borrowed from this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
    )
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_wheel_folds(elsewhere, tmp_path):
    code = "import rinalmo_kit as rk; print(rk.__file__); print(rk.fold('GGGGAAAACCCC').dot_bracket)"
    where, folded = run(elsewhere / "python", "-I", "-c", code, cwd=tmp_path).splitlines()
    assert Path(where).is_relative_to(elsewhere.parent)
    assert re.fullmatch(r"[.()]{12}", folded)


def test_wheel_has_the_command(elsewhere, tmp_path):
    assert "fold" in run(elsewhere / "rinalmo-kit", "--help", cwd=tmp_path)


def test_wheel_knows_its_version(elsewhere, tmp_path):
    code = (
        "import rinalmo_kit as rk, importlib.metadata as m; print([rk.__version__, m.version('rinalmo-kit')])"
    )
    ours, installed = ast.literal_eval(run(elsewhere / "python", "-I", "-c", code, cwd=tmp_path))
    assert ours == installed
