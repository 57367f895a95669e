import path from "node:path";
import { decompressStream, tarEntries } from "@longshore/archive";
import { EngineError } from "@longshore/errors";
import type { Blob } from "../blob-sink.ts";
import type { BlobWriter } from "../blob-writer.ts";

/** Files of old archives that say nothing that is needed. */
const IGNORED = new Set(["VERSION", "json", "repositories"]);
const BLOB = /^blobs\/([a-z0-9]+)\/([a-f0-9]{32,})$/;
const LINKS_MAX = 16;
/** No archive of images has that many; it bounds what is remembered of one. */
const FILES_MAX = 100_000;

/** What was in an archive of images: its files are blobs of the content store now. */
export class ArchiveContents {
  private readonly files = new Map<string, Blob>();
  private readonly links = new Map<string, string>();

  /** The file at a path of the archive, links followed within it. */
  find(name: string): Blob | undefined {
    let at = normal(name);
    for (let step = 0; step < LINKS_MAX; step++) {
      const file = this.files.get(at);
      if (file) return file;
      const link = this.links.get(at);
      if (link === undefined) return undefined;
      at = link;
    }
    return undefined;
  }

  /** @throws EngineError `invalid_argument` */
  require(name: string): Blob {
    const file = this.find(name);
    if (file) return file;
    throw new EngineError("invalid_argument", `invalid archive: ${name} is missing`);
  }

  addFile(name: string, blob: Blob): void {
    if (this.files.size + this.links.size >= FILES_MAX) {
      throw new EngineError("invalid_argument", `invalid archive: more than ${FILES_MAX} files`);
    }
    this.files.set(name, blob);
  }

  addLink(name: string, target: string): void {
    this.addFile(name, { digest: "", size: 0 });
    this.files.delete(name);
    this.links.set(name, target);
  }
}

/**
 * Take in an archive of images that comes in pieces, packed or not: each of its files becomes a blob.
 *
 * @throws EngineError `invalid_argument` for what is no tar, or a blob whose content isn't what its name says
 */
export async function readArchive(
  source: AsyncIterable<Buffer>,
  writer: BlobWriter,
  signal: AbortSignal,
): Promise<ArchiveContents> {
  const contents = new ArchiveContents();
  for await (const { entry, content } of tarEntries(decompressStream(source))) {
    signal.throwIfAborted();
    const name = normal(entry.name);
    if (entry.type === "symlink") {
      contents.addLink(name, normal(path.posix.join(path.posix.dirname(name), entry.linkName)));
    } else if (entry.type === "hardlink") {
      contents.addLink(name, normal(entry.linkName));
    } else if (entry.type === "file" && !IGNORED.has(path.posix.basename(name))) {
      const [, algorithm, hex] = BLOB.exec(name) ?? [];
      const expected = algorithm === undefined ? {} : { expected: `${algorithm}:${hex}` };
      contents.addFile(name, await writer.write(content, { ...expected, signal }));
    }
  }
  return contents;
}

/** A path within the archive; whatever leads out of it stays at its root. */
function normal(name: string): string {
  return path.posix.join("/", name).slice(1).replace(/\/+$/, "");
}
