"""What a tar must not hold: links, devices, programs, pickles, names that lead elsewhere.

Everything here judges a few bytes and opens nothing.
"""

import re
import tarfile

_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.DIRTYPE)
_PICKLES = (".pyd", ".pkl", ".pickle", ".pth", ".pt")
_COMPRESSED = re.compile(r"(\.(gz|bz2|xz))+$")  # webdataset unpacks them, and loads what they hold
_PROGRAMS = (".exe", ".dll", ".so", ".sh", ".bat", ".ps1", ".py", ".pyc")
_MAGIC = {
    b"\x7fELF": "an ELF program",
    b"#!": "a script (#!)",
    b"MZ": "a Windows program",
    b"\xcf\xfa\xed\xfe": "a Mach-O program",
    b"\xca\xfe\xba\xbe": "a Mach-O program or Java class",
}
# A pickle of protocol 2 or later begins so; 4 and later go on with a frame or an opcode. One of an
# earlier protocol names what it calls in two lines, as a list of words may: an opcode must follow.
_PICKLE = re.compile(
    rb"\x80[\x02-\x05]|\(*c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n([().]|p\d+\n|q[\0-\x1f]|S['\"])"
    rb"|\([dl]p\d+\n"
)
# An array of objects as NumPy writes it: a pickle follows the header.
_OBJECTS = re.compile(rb"\x93NUMPY.*?['\"][|<>=]?(O\d*|object)['\"]", re.DOTALL)
_ZIPPED_PICKLE = re.compile(rb"PK\x03\x04.{26}[^/]*/data\.pkl", re.DOTALL)  # as torch.save writes


def in_header(info: tarfile.TarInfo) -> list[str]:
    """What is wrong with a member by its header alone."""
    found = list(in_name(info.name))
    if info.type not in _PLAIN:
        target = f" to {info.linkname!r}" if info.type in (tarfile.LNKTYPE, tarfile.SYMTYPE) else ""
        found.append(f"is {_KINDS.get(info.type, f'of unknown kind {info.type!r}')}{target}")
    elif info.issparse():  # as PAX has it, of a type that is plain
        found.append("is a sparse file")
    elif info.type != tarfile.DIRTYPE and info.mode & 0o111:
        found.append(f"is marked as executable (mode {info.mode:04o})")
    if info.mode & 0o7000:
        found.append(f"has set-user-id, set-group-id or sticky bits (mode {info.mode:04o})")
    return found


def in_name(name: str) -> list[str]:
    """What is wrong with a member's name."""
    found = []
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        found.append("has an absolute name")
    if ".." in re.split(r"[/\\]", name):
        found.append("has a name that leads out of the folder it is unpacked in (..)")
    if not name.isprintable():
        found.append("has a name with characters that cannot be printed")
    if _COMPRESSED.sub("", name.lower()).endswith(_PICKLES):
        found.append("is a pickle by its name; to load it may run any program")
    if name.lower().endswith(_PROGRAMS):
        found.append("is a program by its name")
    return found


def in_content(head: bytes) -> list[str]:
    """What a member is by its first 512 bytes, if it is something that can be run."""
    found = [f"is {what}" for magic, what in _MAGIC.items() if head.startswith(magic)]
    if any(pattern.match(head) for pattern in (_PICKLE, _ZIPPED_PICKLE, _OBJECTS)):
        found.append("is a pickle by its content; to load it may run any program")
    return found


def in_block(block: bytes) -> str:
    """What is wrong with the 512 bytes that stand where a plain header was expected, or nothing."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        return f"no tar header is there ({error})"
    found = in_header(info)
    return f"member {info.name!r} {', '.join(found)}" if found else ""
