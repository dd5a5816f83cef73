"""The user's code as text: where each function stands, whether it can be called, and the hash of what it imports.

The control plane uses only this: it parses the source and never imports it. A folder of user functions is
self-contained: its modules import each other (relatively, or by the folder's name) and installed packages.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlpipe.errors import SettingsError, UserFunctionError
from mlpipe.user_functions.protocols import FUNCTIONS


@dataclass(frozen=True)
class FunctionSource:
    """One user function: where it is defined, and what it consists of.

    `definition_sha256` is of its own text, `sha256` of every file of the user's that it can reach.
    """

    name: str
    file: str
    line: int
    definition_sha256: str
    sha256: str


@dataclass(frozen=True)
class UserSource:
    """All five user functions of one folder or module, as they were when they were read.

    `files` are the contents of everything that has to travel with a job, by path relative to the folder that holds
    `package`. Jobs, hashes and the run's copy all come from here, so that an edit while a run is going on changes
    nothing in it.
    """

    package: str
    files: Mapping[str, bytes]
    functions: Mapping[str, FunctionSource]

    @property
    def sha256(self) -> str:
        """One hash over all user code."""
        return _hash(self.files)


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
    code = _Code.read(path.parent, path.name.removesuffix(".py"))
    functions: dict[str, FunctionSource] = {}
    problems: list[str] = []
    for name in FUNCTIONS:
        try:
            functions[name] = code.function(name)
        except UserFunctionError as error:
            problems.append(error.message)
    if problems:
        raise UserFunctionError(
            "\n".join(dict.fromkeys(problems)),
            hint="the contract of each function: " + ", ".join(f"{n}({', '.join(a)})" for n, a in FUNCTIONS.items()),
        )
    return UserSource(package=code.package, files=code.files, functions=functions)


@dataclass(frozen=True)
class _Code:
    """The user's files by their paths relative to the folder that holds the package."""

    package: str
    files: Mapping[str, bytes]

    @classmethod
    def read(cls, root: Path, package: str) -> _Code:
        """Every file of the package but hidden and compiled ones."""
        folder = root / package
        paths = sorted(folder.rglob("*")) if folder.is_dir() else [root / f"{package}.py"]
        shown = {path.relative_to(root): path for path in paths if path.is_file()}
        own = {name: path for name, path in shown.items() if not any(_is_ignored(part) for part in name.parts[1:])}
        try:
            return cls(package, {name.as_posix(): path.read_bytes() for name, path in own.items()})
        except OSError as error:
            raise UserFunctionError(f"the user functions cannot be read: {error}") from error

    def function(self, name: str) -> FunctionSource:
        """One function, with the hashes of its text and of its closure."""
        is_module = f"{self.package}.py" in self.files
        candidates = (
            [f"{self.package}.py"] if is_module else [f"{self.package}/{name}.py", f"{self.package}/__init__.py"]
        )
        for file in candidates:
            found = self._definition(file, name, frozenset()) if file in self.files else None
            if found:
                where, definition = found
                _check_arguments(where, definition, name)
                own = hashlib.sha256(ast.unparse(definition).encode()).hexdigest()
                return FunctionSource(name, where, definition.lineno, own, _hash(self._closure(where)))
        raise UserFunctionError(
            f"{' or '.join(candidates)}: no function {name}({', '.join(FUNCTIONS[name])}) is defined there"
        )

    def _definition(self, file: str, name: str, seen: frozenset[str]) -> tuple[str, ast.FunctionDef] | None:
        """The top-level `def name` of a file, following `from .module import name` inside the user's folder."""
        for node in self._parse(file).body:
            if isinstance(node, ast.AsyncFunctionDef) and node.name == name:
                raise UserFunctionError(f"{file}:{node.lineno}: {name} is async; a plain function is expected")
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return file, node
            if isinstance(node, ast.ImportFrom):
                original = next((alias.name for alias in node.names if (alias.asname or alias.name) == name), None)
                for target in self._imported(file, node) if original else ():
                    if target not in seen and (found := self._definition(target, original or name, seen | {file})):
                        return found
        return None

    def _closure(self, file: str) -> dict[str, bytes]:
        """The file, every user module that it imports (at any depth), and the data files of the user's folder.

        Data files (a vocabulary, a list of labels) count for every function, because nothing in the source says who
        reads them.
        """
        seen = {name for name in self.files if not name.endswith(".py")}
        initial = f"{self.package}/__init__.py"
        todo = [file, initial] if initial in self.files else [file]
        while todo:
            current = todo.pop()
            if current not in seen:
                seen.add(current)
                for node in ast.walk(self._parse(current)):
                    if isinstance(node, ast.Import | ast.ImportFrom):
                        todo.extend(self._imported(current, node))
        return {name: self.files[name] for name in sorted(seen)}

    def _imported(self, file: str, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
        """The user's files that an import statement can load; installed packages yield nothing."""
        if isinstance(node, ast.Import):
            modules = [PurePosixPath(*alias.name.split(".")) for alias in node.names]
        else:
            base = PurePosixPath(file).parents[node.level - 1] if node.level else PurePosixPath()
            module = base.joinpath(*(node.module or "").split("."))
            modules = [module, *(module / alias.name for alias in node.names)]
        for module in modules:
            yield from (name for name in (f"{module}.py", f"{module}/__init__.py") if name in self.files)

    def _parse(self, file: str) -> ast.Module:
        try:
            return ast.parse(self.files[file], filename=file)
        except SyntaxError as error:
            raise UserFunctionError(f"{file}:{error.lineno}: {error.msg}") from error
        except ValueError as error:
            raise UserFunctionError(f"{file} cannot be read: {error}") from error


def _check_arguments(file: str, definition: ast.FunctionDef, name: str) -> None:
    expected = FUNCTIONS[name]
    arguments = definition.args
    accepted = len(arguments.posonlyargs) + len(arguments.args)
    required = accepted - len(arguments.defaults)
    keyword_only = [
        a.arg for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is None
    ]  # no default: a call by position could never fill them
    if required > len(expected) or (accepted < len(expected) and not arguments.vararg) or keyword_only:
        raise UserFunctionError(
            f"{file}:{definition.lineno}: {name}({ast.unparse(arguments)}) is called as {name}({', '.join(expected)})"
        )


def _is_ignored(part: str) -> bool:
    return part.startswith(".") or part == "__pycache__"


def _hash(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
