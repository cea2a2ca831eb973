"""What gets versions flagged in ComfyUI's registry, looked for in the archive's texts as its scanner does: by words.

The scanner reads comments and pages too, and one finding of any severity keeps a version from being offered until
somebody has reviewed it. Its rules are not public: these rows are what publishers have reported of them.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

TEXTS = {".py", ".js", ".mjs", ".json", ".md", ".toml", ".txt", ".yaml", ".yml", ".css", ".html"}
CODE = {".py", ".js", ".mjs"}


class Row(NamedTuple):
    """Words that are looked for.

    name: in plain words. words: a pattern. files: endings of the files that it is looked for in. example: is found.
    """

    name: str
    words: str
    files: set[str]
    example: str


ROWS = (
    Row("environment", r"\benviron\b|\b(?:un|put|get)s?env\b", TEXTS, "os.environ.get(name)"),
    Row(
        "other programs",
        r"\bsubprocess\b|\bpopen\b|\bos\.(?:system|startfile|exec\w+|spawn\w+)\s*\(|\b(?:ffmpeg|ffprobe|curl|wget)\b",
        TEXTS,
        "subprocess.run(command)",
    ),
    Row("code from text", r"\b(?:eval|exec)\s*\(|(?<![\w.])compile\s*\(|\bnew Function\b", TEXTS, "exec(text)"),
    Row(
        "modules by name",
        r"__import__|\bimport_module\b|\bexec_module\b|\bspec_from_file_location\b|\bSourceFileLoader\b|\brunpy\b",
        TEXTS,
        "importlib.import_module(name)",
    ),
    Row("bytecode", r"\bmarshal\b|\bCodeType\s*\(|\bco_code\b|\bpy_compile\b|\.pyc\b", TEXTS, "marshal.loads(code)"),
    Row(
        "unpickling",
        r"\bimport pickle\b|\bfrom pickle\b|\b[cd]?[Pp]ickle\.\w+|\bUnpickler\b",
        CODE,
        "pickle.load(file)",
    ),
    Row(
        "network",
        r"\burllib\.request\b|\burl(?:open|retrieve)\b|\bhttp\.client\b|\bhttpx\b|\bClientSession\b|\bsocket\.socket\b"
        r"|\brequests\.(?:get|post|put|patch|delete|head|request|Session)\b|\bimport requests\b|\bcreate_connection\b"
        r"|\.(?:connect|bind|send|sendall|sendto|recv|recv_into)\s*\(|\bgethost\w+|\bftplib\b|\bsmtplib\b"
        r"|\bfetch\s*\(\s*[\"'`]https?:|\bXMLHttpRequest\b|\bWebSocket\b|\bsendBeacon\b",
        TEXTS,
        "urllib.request.urlopen(address)",
    ),
    Row("addresses", r"raw\.githubusercontent|pastebin|bit\.ly|webhook|ngrok|imgur", TEXTS, "https://pastebin.com/x"),
    Row("deleting folders", r"\brm\s+-\w*r|\brmtree\b", TEXTS, "rm -rf folder"),
    Row(
        "private files",
        r"/etc/|\.ssh\b|\.aws\b|\bid_rsa\b|\bnetrc\b|\bkeyring\b|Path\([^()]*\)\.read_bytes",
        CODE,
        "~/.ssh",
    ),
    Row(
        "hidden code",
        r"\bb(?:64|32|16|85)decode\b|\bzlib\.decompress\b|\batob\s*\(|\\x[0-9a-f]{2}\\x",
        CODE,
        "atob(text)",
    ),
    Row("machine code", r"\bctypes\b|\bcffi\b|\bWinDLL\b|\bkernel32\b", CODE, "ctypes.CDLL(file)"),
    Row("bundles", r".{800}", CODE, "x" * 800),
    Row("other rights", r"\bsudo\b|\bpkexec\b|\brunas\b|\bdoas\b", TEXTS, "sudo make"),
    Row("ciphers", r"\bcryptography\b|\bimport Crypto\b|\bfrom Crypto\b", CODE, "from cryptography import x509"),
)

EXCEPTIONS = {
    ("environment", "ip_adapter_core/faces/networks.py"): "switches off the telemetry of onnxruntime, which has no "
    "other switch that comes before its first message; one variable is set, for this process, and none is read",
    (
        "unpickling",
        "ip_adapter_core/files/pickles.py",
    ): "names the error by which torch refuses a file that holds code; nothing is unpickled with the module",
}
"""Row and file -> why it is there all the same. SECURITY.md says so too."""


class Finding(NamedTuple):
    """A place that the scanner would stop at."""

    row: str
    file: str
    line: int
    text: str


def scan(root: Path, files: Iterable[str]) -> list[Finding]:
    """Every place in these files of a folder, exceptions included."""
    return [finding for file in files for finding in _in_file(root, file)]


def unexpected(findings: Iterable[Finding]) -> list[Finding]:
    """Those that no exception names."""
    return [finding for finding in findings if (finding.row, finding.file) not in EXCEPTIONS]


def _in_file(root: Path, file: str) -> Iterator[Finding]:
    ending = Path(file).suffix.lower()
    if ending not in TEXTS:
        return
    text = (root / file).read_text(encoding="utf-8")
    for row in ROWS:
        for found in re.finditer(row.words, text) if ending in row.files else ():
            yield Finding(row.name, file, text.count("\n", 0, found.start()) + 1, found.group()[:60])
