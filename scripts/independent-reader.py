#!/usr/bin/env python3
"""Reads a domain with none of our code, and believes nothing it has not checked.

Written from runtime/FORMATS.md alone, with other people's CBOR, COSE, BLAKE3 and zstd packages
and the `age` tool: if this program and asl-host disagree, one of them or FORMATS.md is wrong.

Checks, in this order: the DAM and its genesis; every admission's request and decision; the
content log's chain; every snapshot's manifest, delegation and CURRENT; the name, the table and
every piece of every block; every segment's trust value. Then it extracts one file, and checks
its artifact key.

Example:
  scripts/independent-reader.py /mnt/target/asl-host/domains/alice.personal~0123456789ab \\
      --identity owner.txt --host-key host.pub --extract home/alice/letter.txt --to letter.txt
"""
import argparse, base64, io, json, pathlib, struct, subprocess, sys, tempfile

import blake3, cbor2, zstandard
from pycose.keys import OKPKey
from pycose.messages import SignMessage

NO_HASH = bytes(32)


class Refused(Exception):
    """Something is not as FORMATS.md says."""


def need(true, what):
    if not true:
        raise Refused(what)


def digest(data):
    return blake3.blake3(data).digest()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def canonical(data, what):
    """The one value of `data`, which must be spelled in the one deterministic way."""
    value = cbor2.loads(data)
    need(cbor2.dumps(value, canonical=True) == data, f"{what} is not in deterministic CBOR")
    return value


def document(data, kind):
    need(len(data) <= 16 << 20, f"{kind} is too long")
    fields = canonical(data, kind)
    need(isinstance(fields, dict) and fields.get(0) == kind, f"{kind} expected, not {fields!r:.60}")
    return fields


def public_key(line):
    """The raw 32 bytes of an OpenSSH ssh-ed25519 line."""
    blob = base64.b64decode(line.split()[1])
    need(blob[:19] == b"\0\0\0\x0bssh-ed25519\0\0\0\x20", "not an ssh-ed25519 key")
    return blob[19:]


def signers(kind, data, signature, keys):
    """The ids of the keys that signed: all signatures must be good and by one of `keys`."""
    message = SignMessage.from_cose_obj(canonical(signature, f"signature of {kind}"), True)
    need(message.payload is None, "the signature carries a payload")
    known, found = {digest(k): k for k in keys}, []
    for one in message.signers:
        key_id = next(v for k, v in one.phdr.items() if k.identifier == 4)
        need(key_id in known, f"{kind} is signed by unknown key {key_id.hex()}")
        one.key = OKPKey(crv="ED25519", x=known[key_id])
        one.external_aad = kind.encode()
        need(one.verify_signature(detached_payload=data), f"{kind}: key {key_id.hex()} did not sign this")
        found.append(key_id)
    need(found and found == sorted(set(found)), f"signatures of {kind} are not in order")
    return found


def age(identity, data):
    done = subprocess.run(["age", "-d", "-i", str(identity)], input=data, capture_output=True)
    need(done.returncode == 0, f"age: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


class Reader:
    def __init__(self, path, identity, host_keys):
        self.path, self.owner, self.host_keys = pathlib.Path(path), identity, host_keys
        self.pieces, self.seen = {}, {}

    def file(self, name):
        return (self.path / name).read_bytes()

    def told(self, what, count):
        self.seen[what] = count
        print(f"verified  {what}: {count}", file=sys.stderr)

    # --- authority -------------------------------------------------------------------------

    def dam_of(self, data, sig, depth=32):
        """A DAM, checked from its genesis on, along its lineage; its identity and fields."""
        dam = document(data, "asl.dam/1")
        genesis = document(dam[2], "asl.genesis/1")
        need(digest(dam[2]) == dam[1] == self.domain, "the DAM is of another domain")
        need((dam[3] == 1) == (4 not in dam), "only the first DAM has none before it")
        first = {0: "asl.root-set/1", 1: dam[5][1], 2: dam[5][2]}
        sets = [dam[5]]
        if digest(cbor2.dumps(first, canonical=True)) != genesis[6] or dam[5][1] != genesis[7]:
            need(12 in dam and depth, "the DAM's roots are not the genesis's, and it shows no lineage")
            shown_id, shown = self.dam_of(dam[12][1], dam[12][2], depth - 1)
            need(shown[3] < dam[3], "the lineage is not older than the DAM")
            if shown[5] != dam[5]:
                need(shown[3] + 1 == dam[3] and shown_id == dam[4], "the roots changed in a DAM that is not shown")
                sets.append(shown[5])
        by = signers("asl.dam/1", data, sig, [key for roots in sets for key in roots[2]])
        for roots in sets:
            need(sum(digest(key) in by for key in roots[2]) >= roots[1], "too few roots signed the DAM")
        return digest(data), dam

    def signed(self, path):
        return path.read_bytes(), path.with_suffix(".sig").read_bytes()

    def admissions(self):
        """Every admission: its request by an operator, its decision by a host that is pinned."""
        folders = [p.parent for p in sorted((self.path / "admission").rglob("admission-decision.cbor"))]
        for folder in folders:
            name = folder.relative_to(self.path)
            dam_id, dam = self.dam_of(*self.signed(folder / "dam.cbor"))
            request_data, decision_data = self.file(name / "admission-request.cbor"), self.file(name / "admission-decision.cbor")
            request = document(request_data, "asl.admission-request/1")
            decision = document(decision_data, "asl.admission-decision/1")
            signers("asl.admission-request/1", request_data, self.file(name / "admission-request.sig"), dam[6])
            by = signers("asl.admission-decision/1", decision_data, self.file(name / "admission-decision.sig"), self.host_keys)
            need(request[1] == dam_id, "the request names another DAM")
            need(decision[1] == digest(request_data), "the decision is for another request")
            need([decision[2]] == by == [request[2]], "the decision is another host's")
            need(decision[3] in ("ACCEPTED", "ACCEPTED_LIMITED", "DEFERRED", "REJECTED"), "no such outcome")
            need((5 in decision) == (decision[3] == "ACCEPTED_LIMITED"), "a lease where none belongs")
            if 5 in decision:
                lease = blake3.blake3(decision[2] + decision[1], derive_key_context="asl lease id v1").digest()
                need(decision[5][1] == lease, "the lease has another id")
        self.told("admissions, each with DAM, request and decision", len(folders))

    def authority(self):
        """The genesis of the log, the newest DAM, the epoch's keys."""
        _, data = next(self.frames())
        self.domain = digest(data[5][0][1])
        self.encrypted = document(data[5][0][1], "asl.genesis/1")[5][5]
        self.dams = {}
        for found in sorted([*self.path.rglob("dam.cbor"), *self.path.glob("auth/dams/*.cbor")]):
            dam_id, dam = self.dam_of(*self.signed(found))
            self.dams[dam_id] = dam
        self.newest = max(self.dams.values(), key=lambda dam: dam[3], default={})
        self.told("DAM signatures, from the roots of the genesis on", len(self.dams))
        self.revocations()

    def revocations(self):
        """What is revoked: by the threshold of the named DAM's roots, or an operator whose role says so."""
        found = sorted(self.path.glob("auth/revocations/*.cbor"))
        for path in found:
            data, sig = self.signed(path)
            revocation = document(data, "asl.revocation/1")
            dam = self.dams.get(revocation[3])
            need(dam is not None and revocation[1] == self.domain, "a revocation under another DAM")
            by = signers("asl.revocation/1", data, sig, list({*dam[5][2], *dam[6]}))
            roots = sum(digest(key) in by for key in dam[5][2])
            verb = "revoke-" + revocation[4][1]
            may = any(digest(role[1]) in by and verb in role[2] for role in dam.get(13, []))
            need(roots >= dam[5][1] or may, "who signed may not revoke this")
        self.told("revocations", len(found))

    def open_epochs(self, scratch):
        """Data identities and keys, by the owner's identity; the DAM and the log name their files."""
        self.epochs = {0: (None, None, None)}
        # Of each epoch the last record counts: its file may have been wrapped anew.
        records = {r[1]: r[3] for _, frame in self.frames() for r in frame[5] if r[0] == 2}
        for number, named in records.items():
            files = {name: self.file(f"store/encryption/{name}") for name, _ in named}
            for name, wanted in named:
                need(digest(files[name]) == wanted, f"{name} is not the one the log names")
            identity = scratch / f"epoch-{number}"
            identity.write_bytes(age(self.owner, files[f"epoch-{number}.age"]))
            keys = document(age(identity, files[f"epoch-{number}.keys.age"]), "asl.epoch-keys/1")
            need(keys[1] == number, "keys of another epoch")
            self.epochs[number] = (identity, keys[2], keys[3])
            encryption = self.newest[7]
            of_dam = ([*encryption.get(7, [])] + [{2: encryption[5], 3: encryption[6]}])[number - 1]
            need([digest(files[n]) for n in sorted(files)] == [of_dam[2], of_dam[3]],
                 "the DAM names other epoch files")
        self.told("epochs opened with the owner's identity", len(self.epochs) - 1)

    # --- the log ---------------------------------------------------------------------------

    def frames(self):
        """Every commit frame with its end, its chain checked; stops at a torn tail."""
        log = self.file("log/append.log")
        at, frames, records, before, stored, counted = 0, 0, 0, NO_HASH, 0, set()
        while at < len(log):
            if log[at] == 0:
                at += 1
                continue
            magic, version, size, crc = struct.unpack_from("<8sHxxII", log, at)
            need(magic == b"ASLCLOG\x01" and version == 1, f"no frame at byte {at}")
            need(crc == crc32c(log[at:at + 16]), f"the header at byte {at} is damaged")
            end = at + 20 + size
            need(end + 32 <= len(log), f"the frame at byte {at} is cut short")
            need(log[end:end + 32] == digest(log[at:end]), f"the frame at byte {at} is damaged")
            body = document(log[at + 20:end], "asl.commit/1")
            need((body[1], body[2], body[3]) == (frames, records, before),
                 f"the frame at byte {at} does not follow the one before it")
            for record in body[5]:
                if record[0] == 4:
                    stored += record[5] + sum(size for block, size in record[6] if block not in counted)
                    counted.update(block for block, _ in record[6])
                elif record[0] == 5:
                    stored += record[5]
                elif record[0] == 6:
                    stored += record[3]
                elif record[0] == 12:
                    counted.difference_update(record[1])
            need(body[6] == stored, f"the frame at byte {at} counts {body[6]} stored bytes, not {stored}")
            stored += end + 32 - at
            before, frames, records = log[end:end + 32], frames + 1, records + len(body[5])
            yield (frames, records, before), body
            at = end + 32

    def log(self):
        """Replays the log into CURRENT, and keeps its digest at every head."""
        self.segments, self.blocks, self.snapshots, self.roots = {}, {}, {}, {}
        self.current_at, self.snapshot_before, head = {}, {}, (0, 0, NO_HASH)
        for head_after, body in self.frames():
            for record in body[5]:
                if record[0] == 3:
                    self.roots[record[2]] = record[3]
                elif record[0] == 4:
                    self.segments[record[1]] = record
                    self.blocks.update({block: (size, record[2]) for block, size in record[6]})
                elif record[0] == 5:
                    listed = [block for number in record[7] for block, _ in self.segments.pop(number)[6]]
                    live = sorted(set(block for block in listed if block in self.blocks))
                    need([block for block, _ in record[6]] == live, "a merged segment lists other blocks")
                    self.segments[record[1]] = record
                elif record[0] == 6:
                    self.snapshots[record[1]], self.snapshot_before[record[1]] = record, head
                elif record[0] == 12:
                    for block in record[1]:
                        del self.blocks[block]
                    for number in record[2]:
                        del self.segments[number]
                elif record[0] == 13:
                    need(max(self.snapshots) not in record[1], "the newest snapshot is forgotten")
                    for number in record[1]:
                        del self.snapshots[number]
                    for root in record[2]:
                        del self.roots[root]
                else:
                    need(record[0] in (1, 2, 11), f"a record of kind {record[0]}, which is not in FORMATS.md")
            need(all(b in self.blocks for b in body.get(7, [])), "a frame relies on a block that is not there")
            head = head_after
            self.current_at[head] = digest(cbor2.dumps([
                list(head), [self.segments[n][4] for n in sorted(self.segments)], sorted(self.blocks),
                [[n, self.snapshots[n][2]] for n in sorted(self.snapshots)],
                [[r, self.roots[r]] for r in sorted(self.roots)]], canonical=True))
        self.told("commit frames, each chained to the one before", head[0])

    def manifests(self):
        for number, record in sorted(self.snapshots.items()):
            folder = f"snapshots/snap-{number:06}"
            data, listed = self.file(f"{folder}/manifest.cbor"), self.file(f"{folder}/blocks")
            manifest = document(data, "asl.manifest/1")
            need(digest(data) == record[2] and len(data) + len(listed) == record[3], "a manifest that the log does not name")
            need(manifest[1] == self.domain and manifest[2] == number, "a manifest of something else")
            need(tuple(manifest[4]) == self.snapshot_before[number], "a manifest at another head")
            need(manifest[5] == self.current_at[tuple(manifest[4])], "CURRENT is not snapshot + replay(log)")
            need(digest(listed) == manifest[8], "the snapshot's block list is another")
            magic, version, count = struct.unpack_from("<8sHxxI", listed)
            need(magic == b"ASLBKSET" and version == 1 and len(listed) == 16 + 32 * count, "no block set")
            ids = [listed[16 + 32 * n:48 + 32 * n] for n in range(count)]
            need(ids == sorted(set(ids)) and all(b in self.blocks for b in ids), "a block set with unknown blocks")
            need(manifest[9] == [count, sum(self.blocks[b][0] for b in ids)], "the snapshot counts its blocks wrongly")
            self.delegated(folder, data, manifest)
        self.told("manifests, each signed by a delegated device", len(self.snapshots))

    def delegated(self, folder, data, manifest):
        """The manifest's signature, by a device that an operator of the DAM delegated."""
        found = [p for p in (self.path / "auth/delegations").glob("*.cbor") if digest(p.read_bytes()) == manifest.get(14)]
        need(len(found) == 1, "the manifest's delegation is missing")
        text = found[0].read_bytes()
        delegation = document(text, "asl.delegation/1")
        dam = self.dams.get(delegation[6])
        need(dam is not None and delegation[6] == manifest[13], "the delegation is under another DAM")
        signers("asl.delegation/1", text, found[0].with_suffix(".sig").read_bytes(), dam[6])
        need("sign-manifest" in delegation[5], "the device may not sign manifests")
        signers("asl.manifest/1", data, self.file(f"{folder}/manifest.sig"), [delegation[1]])

    # --- blocks ----------------------------------------------------------------------------

    def plain_block(self, block):
        size, epoch = self.blocks[block]
        sealed = self.file(f"store/blocks/sealed/{block.hex()[:2]}/{block.hex()}.blk")
        need(digest(sealed) == block and len(sealed) == size, f"block {block.hex()} is not what its name says")
        return sealed if epoch == 0 else age(self.epochs[epoch][0], sealed)

    def read_blocks(self):
        for block, (_, epoch) in self.blocks.items():
            plain, key = self.plain_block(block), self.epochs[epoch][1]
            magic, version, zero, at, extents, tags, tag_bytes, entries, crc = struct.unpack_from("<8sHHIIIIII", plain, len(plain) - 36)
            need((magic, version, zero) == (b"ASLBLOCK", 1, 0), "no block of version 1")
            need(crc == crc32c(plain[at:-4]), f"the table of block {block.hex()} is damaged")
            need(len(plain) == at + 16 * extents + tag_bytes + 48 * entries + 36, "a table of another length")
            offset, texts = 0, []
            for n in range(extents):
                start, stored, size, codec = struct.unpack_from("<IIIB", plain, at + 16 * n)
                need(start == offset, "extents do not lie back to back")
                raw = plain[start:start + stored]
                texts.append(raw if codec == 0 else zstandard.ZstdDecompressor().decompress(raw, max_output_size=size))
                need(len(texts[-1]) == size, "an extent of another length")
                offset += stored
            need(offset == at, "extents do not end where the table begins")
            at += 16 * extents + tag_bytes
            for n in range(entries):
                piece, _, extent, inner, size = struct.unpack_from("<32sIIII", plain, at + 48 * n)
                data = texts[extent][inner:inner + size]
                need(len(data) == size and piece == (blake3.blake3(data, key=key) if key else blake3.blake3(data)).digest(),
                     f"piece {piece.hex()} is not what its id says")
                self.pieces[piece] = (block, extent, inner, size)
        self.told("blocks by name and table", len(self.blocks))
        self.told("pieces by their keyed ids", len(self.pieces))

    def read_segments(self):
        for number, record in self.segments.items():
            data, epoch = self.file(f"index/segments/seg-{number:06}/segment"), record[2]
            need(digest(data) == record[4] and len(data) == record[5], "a segment that the log does not name")
            need(struct.unpack_from("<8sHHI", data) == (b"ASLSEGMT", 1, 0, epoch), "no segment of version 1")
            identity, _, mac = self.epochs[epoch]
            body = age(identity, data[16:]) if epoch else data[16:]
            trust = blake3.blake3(body, key=mac) if epoch else blake3.blake3(body, derive_key_context="asl.plain-trust/1")
            need(trust.digest() == record[3], "a segment that somebody without the epoch's key wrote")
            _, blocks, entries, _ = struct.unpack_from("<IIII", body)
            ids = [body[16 + 32 * n:48 + 32 * n] for n in range(blocks)]
            need(ids == sorted(b for b, _ in record[6]), "a segment of other blocks")
            for n in range(entries):
                piece, row, _, _, inner, size = struct.unpack_from("<32sIIIII", body, 16 + 32 * blocks + 56 * n)
                if ids[row] in self.blocks:
                    need(piece in self.pieces and self.pieces[piece][2:] == (inner, size), "a segment that points elsewhere")
        self.told("segments by their trust values", len(self.segments))

    # --- content ---------------------------------------------------------------------------

    def piece(self, name):
        need(name in self.pieces, f"piece {name.hex()} is in no block")
        block, extent, inner, size = self.pieces[name]
        plain = self.plain_block(block)
        at = struct.unpack_from("<I", plain, len(plain) - 24)[0]
        start, stored, whole, codec = struct.unpack_from("<IIIB", plain, at + 16 * extent)
        text = plain[start:start + stored]
        if codec:
            text = zstandard.ZstdDecompressor().decompress(text, max_output_size=whole)
        return text[inner:inner + size]

    def content(self, blob):
        def below(depth, size, top):
            if top is None:
                return bytes(size)
            if depth == 0:
                return self.piece(top)
            return b"".join(below(depth - 1, n, rest[0] if rest else None) for n, *rest in cbor2.loads(self.piece(top)))
        data = below(blob.get(1, 0), blob[0], blob.get(2))
        need(len(data) == blob[0], "a blob of another length")
        return data

    def extract(self, path):
        """A file by its path below the newest root, its artifact key checked."""
        root = document(self.piece(list(self.roots)[-1]), "asl.root/1")
        entry = cbor2.loads(root[2])
        for name in path.encode().split(b"/"):
            stream, entries = io.BytesIO(self.content(entry[20])), {}
            while stream.tell() < entry[20][0]:
                child = cbor2.load(stream)
                entries[child[0]] = child
            need(name in entries, f"there is no {path}")
            entry = entries[name]
        data = self.content(entry[20])
        identity = {0: "asl.blob", 1: {}, 2: digest(data)}
        key = blake3.blake3(cbor2.dumps(identity, canonical=True), derive_key_context="asl.artifact-key/1").digest()
        need(key == entry[12], f"{path} is not the artifact its key names")
        self.told(f"artifact {key.hex()[:16]}…, bytes", len(data))
        return data


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("domain", help="the domain's directory")
    words.add_argument("--identity", required=True, help="the owner's age identity file")
    words.add_argument("--host-key", required=True, help="file with the pinned hosts' OpenSSH lines")
    words.add_argument("--extract", metavar="PATH", help="a file below the newest root")
    words.add_argument("--to", metavar="FILE", help="where it goes; a new file")
    args = words.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        keys = [public_key(line) for line in pathlib.Path(args.host_key).read_text().splitlines() if line.strip()]
        reader = Reader(args.domain, args.identity, keys)
        try:
            reader.authority()
            reader.admissions()
            reader.log()
            reader.manifests()
            reader.open_epochs(pathlib.Path(scratch))
            reader.read_blocks()
            reader.read_segments()
            if args.extract:
                data = reader.extract(args.extract)
                with open(args.to, "xb") as f:
                    f.write(data)
        except Exception as e:  # whatever a damaged file leads to is a refusal
            print(f"REFUSED: {e or type(e).__name__}", file=sys.stderr)
            return 1
    print(json.dumps(reader.seen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
