/** What the head of a DICOM file says (PS3.10 7.1). */
export interface Head {
  sopClassUid: string;
  sopInstanceUid: string;
}

/** So much of a file is read for its head. */
export const HEAD_BYTES = 4096;

export const MEDIA_DIRECTORY = "1.2.840.10008.1.3.10";

const PREAMBLE_BYTES = 128;
const LONG_FORMS = new Set(["OB", "OW", "OF", "SQ", "UT", "UN", "OD", "OL", "OV", "UC", "UR", "SV", "UV"]);

/** Read the File Meta Information; null for a file that is none of DICOM. */
export function readHead(bytes: Uint8Array): Head | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (latin(bytes, PREAMBLE_BYTES, 4) !== "DICM") return null;
  const found: Record<number, string> = {};
  let at = PREAMBLE_BYTES + 4;
  while (at + 8 <= bytes.length && view.getUint16(at, true) === 2) {
    const isLong = LONG_FORMS.has(latin(bytes, at + 4, 2));
    if (isLong && at + 12 > bytes.length) break;
    const length = isLong ? view.getUint32(at + 8, true) : view.getUint16(at + 6, true);
    const start = at + (isLong ? 12 : 8);
    found[view.getUint16(at + 2, true)] = latin(bytes, start, Math.min(length, 64)).replace(/[\0 ]+$/, "");
    at = start + length;
  }
  return { sopClassUid: found[2] ?? "", sopInstanceUid: found[3] ?? "" };
}

function latin(bytes: Uint8Array, start: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(start, start + length));
}
