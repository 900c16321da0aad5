import { strings } from "../strings";
import type { Entries } from "./zip";

/** A file that is to be uploaded, on a disk or within a zip. */
export interface Source {
  path: string;
  size: number;
  /** Give its first bytes. */
  head(bytes: number): Promise<Blob>;
  content(): Promise<Blob>;
}

/** What cannot be opened at all, and why. */
export interface Unreadable {
  path: string;
  words: string;
}

export type Found = Source | Unreadable;

/** What systems leave beside the files of a person. */
const LITTER = /(?:^|\/)(?:\.DS_Store|Thumbs\.db|desktop\.ini|__MACOSX\/.*|\._[^/]*)$/i;

/** A zip within a zip is opened, one within that is not. */
const ZIP_DEPTH = 2;

/** Give the files that were dropped, with those of folders and zips within them. Call it before the drop event ends. */
export function dropped(transfer: DataTransfer): AsyncGenerator<Found> {
  // What comes from other programs than a file manager may be a file and no entry.
  const things = [...transfer.items].map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
  return walkAll(things.filter((thing) => thing !== null));
}

/** Give the files that were picked. */
export async function* picked(files: File[]): AsyncGenerator<Found> {
  for (const file of files) yield* opened(file, file.webkitRelativePath || file.name);
}

async function* walkAll(things: (FileSystemEntry | File)[]): AsyncGenerator<Found> {
  for (const thing of things) yield* thing instanceof File ? opened(thing, thing.name) : walk(thing);
}

async function* walk(entry: FileSystemEntry): AsyncGenerator<Found> {
  const path = entry.fullPath.replace(/^\//, "");
  try {
    if (entry.isDirectory) {
      for await (const inside of listed(entry as FileSystemDirectoryEntry)) yield* walk(inside);
    } else {
      const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
      yield* opened(file, path);
    }
  } catch {
    yield { path, words: strings.upload.unreadable };
  }
}

/** Browsers give the entries of a folder in portions. */
async function* listed(folder: FileSystemDirectoryEntry): AsyncGenerator<FileSystemEntry> {
  const reader = folder.createReader();
  for (;;) {
    const portion = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (!portion.length) return;
    yield* portion;
  }
}

async function* opened(file: Blob, path: string, depth = 0): AsyncGenerator<Found> {
  if (LITTER.test(path)) return;
  if (!/\.zip$/i.test(path)) {
    yield {
      path,
      size: file.size,
      head: (bytes) => Promise.resolve(file.slice(0, bytes)),
      content: () => Promise.resolve(file),
    };
    return;
  }
  if (depth === ZIP_DEPTH) {
    yield { path, words: strings.upload.zipTooDeep };
    return;
  }
  const { entriesOf } = await import("./zip");
  yield* inZip(entriesOf(file), path, depth);
}

async function* inZip(entries: Entries, path: string, depth: number): AsyncGenerator<Found> {
  try {
    for await (const entry of entries) {
      const within = `${path}/${entry.path}`;
      if (LITTER.test(within)) continue;
      if (entry.isLocked) yield { path: within, words: strings.upload.locked };
      else if (/\.zip$/i.test(within)) yield* opened(await entry.content(), within, depth + 1);
      else yield { ...entry, path: within };
    }
  } catch {
    yield { path, words: strings.upload.badZip };
  }
}
