#!/usr/bin/env python3
"""Writes packages.lock anew: Ceph's programs as Debian's unstable suite has them today, and every library that they load.

Needs a Debian machine, no root and no change of it: apt works in a folder of its own, by Debian's own keyring. Then run
`cargo xtask test --test world -- rgw`, and commit the file when that passes."""
import pathlib, re, subprocess, sys, tempfile

WANTED = ["ceph-mon", "ceph-osd", "ceph-base", "ceph-common", "radosgw"]
# What tests/ground/rgw.rs runs; tests/ground/cache.rs keeps no other program.
PROGRAMS = ["ceph-mon", "ceph-osd", "monmaptool", "osdmaptool", "radosgw", "radosgw-admin"]
LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOCK = pathlib.Path(__file__).with_name("packages.lock")


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def apt(folder):
    """apt with its lists, its cache and its list of what is installed, which is nothing, in a folder of ours."""
    sources = run("apt-get", "update", "--print-uris")
    mirror = re.search(r"'(\S+/debian/)dists/", sources)
    if not mirror:
        sys.exit("this machine's apt knows no mirror of Debian")
    for name in ("lists/partial", "archives/partial", "none"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (folder / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror[1]} sid main\n")
    options = {
        "Dir::Etc::sourcelist": folder / "sources.list", "Dir::Etc::sourceparts": folder / "none",
        "Dir::Etc::preferencesparts": folder / "none", "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status", "Dir::State::extended_states": folder / "extended_states",
        "Dir::Cache": folder, "Dir::Cache::archives": folder / "archives", "APT::Architecture": "amd64",
        "APT::Install-Recommends": "false", "APT::Sandbox::User": "", "Debug::NoLocking": "true",
        # A machine's mirror may stand still; what it serves is signed all the same.
        "Acquire::Check-Valid-Until": "false",
    }
    flags = [flag for name, value in options.items() for flag in ("-o", f"{name}={value}")]
    return lambda command, *more: run(command, *flags, *more)


def loaded(root):
    """The libraries that the programs and what they open by name load, by the loader's own list."""
    libraries = root / LIBRARIES
    opened = [*libraries.glob("rados-classes/*.so"), *libraries.glob("ceph/erasure-code/*.so")]
    found = set()
    for file in [root / "usr/bin" / name for name in PROGRAMS] + opened:
        told = run(libraries / "ld-linux-x86-64.so.2", "--library-path", f"{libraries}:{libraries}/ceph", "--list", file)
        found |= {pathlib.Path(path).name for path in re.findall(rf"{root}/\S+", told)}
    return found


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    call = apt(folder)
    call("apt-get", "update")
    call("apt-get", "install", "--yes", "--download-only", *WANTED)
    archives = sorted((folder / "archives").glob("*.deb"))
    for archive in archives:
        run("dpkg-deb", "--extract", archive, folder / "root")
    libraries = loaded(folder / "root")
    needed = []
    for archive in archives:
        package, version = run("dpkg-deb", "--show", "--showformat=${Package}\t${Version}", archive).split("\t")
        files = {pathlib.Path(path).name for path in run("dpkg-deb", "--contents", archive).split()}
        if package in WANTED or files & libraries:
            needed.append(f"{package}={version}")
    told = call("apt-cache", "show", *needed)
    lines = sorted(f"{hash} {path}" for path, hash in re.findall(r"^Filename: (\S+)$.*?^SHA256: (\S+)$", told, re.M | re.S))
    lines.sort(key=lambda line: line.split()[1])
    LOCK.write_text(
        "# Written by lock.py: the SHA-256 of each package, and where a mirror of Debian has it.\n" + "\n".join(lines) + "\n"
    )
print(f"{len(lines)} packages")
