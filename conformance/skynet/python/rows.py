"""Uploads and downloads with the official Python SDK; prints one JSON line for each row."""
import hashlib
import json
import pathlib
import sys

import siaskynet


class Rows:
    """What one run shares: the client, a folder, and a word that makes its content new."""

    def __init__(self, portal, folder, unique):
        self.client = siaskynet.SkynetClient(portal)
        self.folder = pathlib.Path(folder)
        self.unique = unique

    def noise(self, length):
        """Bytes that only this run uploads."""
        blocks = (hashlib.sha256(f"{self.unique} {length} {n}".encode()).digest() for n in range(length // 32 + 1))
        return b"".join(blocks)[:length]

    def same(self, skylink, content):
        path = self.folder / "came back"
        self.client.download_file(str(path), skylink)
        got = path.read_bytes()
        assert got == content, f"{len(got)} bytes came back that are not the {len(content)} sent"

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        skylink = self.client.upload_file(str(path))
        self.same(skylink, content)
        metadata = self.client.get_metadata(skylink)
        assert metadata["filename"] == name, f"the metadata names {metadata['filename']!r}"
        assert metadata["length"] == len(content), f"the metadata says {metadata['length']} bytes"

    def chunks(self):
        """A body without a length."""
        content = self.noise(5000)
        pieces = (content[at : at + 700] for at in range(0, len(content), 700))
        skylink = self.client.upload_file_with_chunks(pieces, {"custom_filename": "pieces.bin"})
        self.same(skylink, content)

    def directory(self):
        folder = self.folder / "a directory"
        files = {"index.html": b"<h1>" + self.unique.encode(), "deep/er/file one.txt": self.noise(500)}
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        skylink = self.client.upload_directory(str(folder), {"custom_dirname": "a directory"})
        for name, content in files.items():
            self.same(f"{skylink}/{name}", content)


def row(name, run):
    line = {"row": name, "ok": True}
    try:
        run()
    except Exception as error:  # whatever the SDK throws is the row's failure
        line |= {"ok": False, "why": f"{type(error).__name__}: {error}"}
    print(json.dumps(line), flush=True)


def main():
    rows = Rows(*sys.argv[1:])
    row("a file comes back, with its metadata", lambda: rows.file("small.txt", rows.noise(1000)))
    row("a file of no bytes comes back", lambda: rows.file("nothing.txt", b""))
    row("a file of one byte comes back", lambda: rows.file("one.txt", b"x"))
    row("a name with a space and unicode comes back", lambda: rows.file("ein Täst 漢字.txt", rows.noise(2000)))
    row("a file of 100 KiB comes back", lambda: rows.file("larger.bin", rows.noise(100 * 1024)))
    row("a body without a length comes back", rows.chunks)
    row("the files of a directory come back", rows.directory)
    print(json.dumps({"done": True}))


main()
