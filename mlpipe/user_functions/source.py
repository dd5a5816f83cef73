"""The user's code as text: where each function stands, whether it can be called, and the hash of what it imports.

The control plane uses only this: it parses the source and never imports it. A folder of user functions is
self-contained: its modules import each other (relatively, or by the folder's name) and installed packages.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlpipe.errors import SettingsError, UserFunctionError
from mlpipe.user_functions.protocols import FUNCTIONS


@dataclass(frozen=True)
class FunctionSource:
    """One user function: where it is defined, and what it consists of.

    `definition_sha256` is of its own text, `sha256` of every file of the user's that it can reach.
    """

    name: str
    file: Path
    line: int
    definition_sha256: str
    sha256: str


@dataclass(frozen=True)
class UserSource:
    """All five user functions of one folder or module; `root` holds the package `package`."""

    root: Path
    package: str
    functions: Mapping[str, FunctionSource]

    def files(self) -> dict[str, Path]:
        """Every file that has to travel with a job, by its path relative to `root`."""
        return {path.relative_to(self.root).as_posix(): path for path in _all_files(self.root, self.package)}

    @property
    def sha256(self) -> str:
        """One hash over all user code."""
        return _hash_files(self.root, tuple(self.files().values()))


def read_user_source(path: Path) -> UserSource:
    """Check the five functions that the folder or module `path` defines.

    A folder defines `encode` in encode.py or in __init__.py (there it may be imported from a sibling module); a module
    defines all of them itself. Raises SettingsError where `path` is not there, and UserFunctionError, with file and
    line, where a function is missing, cannot be called with the arguments of its contract, or does not parse. All
    problems are reported together.
    """
    module = path if path.suffix == ".py" else path.with_suffix(".py")
    if not path.is_dir() and not module.is_file():
        raise SettingsError(
            f"[EXPERIMENT] USER_FUNCTIONS: {path} is neither a folder nor a Python module",
            hint="name the folder that holds reconcile.py, load_processor.py, encode.py, load_model.py and "
            "ordered_input_keys.py, or the module that defines all five",
        )
    root, package = path.parent, path.name.removesuffix(".py")
    functions: dict[str, FunctionSource] = {}
    problems: list[str] = []
    for name in FUNCTIONS:
        try:
            functions[name] = _read_function(root, package, name)
        except UserFunctionError as error:
            problems.append(error.message)
    if problems:
        raise UserFunctionError(
            "\n".join(dict.fromkeys(problems)),
            hint="the contract of each function: " + ", ".join(f"{n}({', '.join(a)})" for n, a in FUNCTIONS.items()),
        )
    return UserSource(root=root, package=package, functions=functions)


def _read_function(root: Path, package: str, name: str) -> FunctionSource:
    folder = root / package
    candidates = [folder / f"{name}.py", folder / "__init__.py"] if folder.is_dir() else [root / f"{package}.py"]
    for file in candidates:
        found = _find_definition(root, file, name) if file.is_file() else None
        if found:
            where, definition = found
            _check_arguments(root, where, definition, name)
            closure = _closure(root, package, where)
            own = hashlib.sha256(ast.unparse(definition).encode()).hexdigest()
            return FunctionSource(name, where, definition.lineno, own, _hash_files(root, closure))
    places = " or ".join(_shown(root, file) for file in candidates)
    raise UserFunctionError(f"{places}: no function {name}({', '.join(FUNCTIONS[name])}) is defined there")


def _find_definition(root: Path, file: Path, name: str) -> tuple[Path, ast.FunctionDef] | None:
    """The top-level `def name` of a file, following `from .module import name` inside the user's folder."""
    for node in _parse(root, file).body:
        if isinstance(node, ast.AsyncFunctionDef) and node.name == name:
            raise UserFunctionError(
                f"{_shown(root, file)}:{node.lineno}: {name} is async; a plain function is expected"
            )
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return file, node
        if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
            original = next(alias.name for alias in node.names if (alias.asname or alias.name) == name)
            for target in _imported_files(root, file, node):
                if target != file and (found := _find_definition(root, target, original)):
                    return found
    return None


def _check_arguments(root: Path, file: Path, definition: ast.FunctionDef, name: str) -> None:
    expected = FUNCTIONS[name]
    arguments = definition.args
    accepted = len(arguments.posonlyargs) + len(arguments.args)
    required = accepted - len(arguments.defaults)
    keyword_only = [
        a.arg for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is None
    ]  # no default: a call by position could never fill them
    if required > len(expected) or (accepted < len(expected) and not arguments.vararg) or keyword_only:
        raise UserFunctionError(
            f"{_shown(root, file)}:{definition.lineno}: {name}({ast.unparse(arguments)}) is called as "
            f"{name}({', '.join(expected)})"
        )


def _closure(root: Path, package: str, file: Path) -> tuple[Path, ...]:
    """The file, every user module that it imports (at any depth), and the data files of the user's folder.

    Data files (a vocabulary, a list of labels) count for every function, because nothing in the source says who reads
    them.
    """
    seen: set[Path] = {path for path in _all_files(root, package) if path.suffix != ".py"}
    initial = root / package / "__init__.py"
    todo = [file, initial] if initial.is_file() else [file]
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        for node in ast.walk(_parse(root, current)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                todo.extend(_imported_files(root, current, node))
    return tuple(sorted(seen))


def _imported_files(root: Path, file: Path, node: ast.Import | ast.ImportFrom) -> Iterator[Path]:
    """The files below `root` that an import statement can load; installed packages yield nothing."""
    if isinstance(node, ast.Import):
        modules = [root.joinpath(*alias.name.split(".")) for alias in node.names]
    else:
        base = file.parents[node.level - 1] if node.level else root
        module = base.joinpath(*(node.module or "").split(".")) if node.module else base
        modules = [module, *(module / alias.name for alias in node.names)]
    inside = file.relative_to(root).parts[0]
    for module in modules:
        if not module.is_relative_to(root / inside.removesuffix(".py")):
            continue
        yield from (path for path in (module.with_suffix(".py"), module / "__init__.py") if path.is_file())


def _all_files(root: Path, package: str) -> Iterator[Path]:
    folder = root / package
    if not folder.is_dir():
        yield root / f"{package}.py"
        return
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
            yield path


def _parse(root: Path, file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as error:
        raise UserFunctionError(f"{_shown(root, file)}:{error.lineno}: {error.msg}") from error
    except (OSError, ValueError) as error:
        raise UserFunctionError(f"{_shown(root, file)} cannot be read: {error}") from error


def _hash_files(root: Path, files: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _shown(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix()
