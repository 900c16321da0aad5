import { BlobReader, BlobWriter, configure, type FileEntry, ZipReader } from "@zip.js/zip.js";

import type { Source } from "./sources";

/** A file within a zip; a locked one needs a passcode. */
export type ZipEntry = Source & { isLocked: boolean };

export type Entries = AsyncGenerator<ZipEntry>;

configure({ useWebWorkers: false, useCompressionStream: true });

/** Give the files of a zip. It is read where they stand, so its size does not matter. */
export async function* entriesOf(file: Blob): Entries {
  const reader = new ZipReader(new BlobReader(file), { checkSignature: true });
  for await (const entry of reader.getEntriesGenerator()) {
    if (entry.directory) continue;
    yield {
      path: entry.filename,
      size: entry.uncompressedSize,
      isLocked: entry.encrypted,
      head: (bytes) => headOf(entry, bytes),
      content: () => entry.getData(new BlobWriter()),
    };
  }
}

/** Unpack the beginning of an entry and no more. */
async function headOf(entry: FileEntry, bytes: number): Promise<Blob> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  const enough = new AbortController();
  let size = 0;
  const writable = new WritableStream<Uint8Array<ArrayBuffer>>({
    write(piece) {
      pieces.push(piece);
      size += piece.length;
      if (size >= bytes) enough.abort();
    },
  });
  try {
    await entry.getData(writable, { signal: enough.signal, checkSignature: false });
  } catch (error) {
    if (size < bytes) throw error;
  }
  return new Blob(pieces).slice(0, bytes);
}
