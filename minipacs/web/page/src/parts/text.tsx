import type { PersonName } from "../api/dicom";
import { strings } from "../strings";
import { personName } from "./format";

/** Characters that show nothing of their own, or turn what stands beside them: controls, bidi marks, invisible ones. */
const HIDDEN =
  /([\u0000-\u001F\u007F-\u009F\u00AD\u061C\u180E\u200B\u200E\u200F\u202A-\u202E\u2028\u2029\u2060-\u206F\uFEFF\uFFF9-\uFFFB]|[\u{E0000}-\u{E007F}])/u;

const LISTED_CHARS = 200;

/** Text of an object, as text and nothing else: apart from what stands around it, with hidden characters made visible. */
export function Text({ value, short = false }: { value: string; short?: boolean }) {
  const isCut = short && value.length > LISTED_CHARS;
  const pieces = (isCut ? value.slice(0, LISTED_CHARS) : value).split(HIDDEN);
  return (
    <bdi>
      {pieces.map((piece, i) => (i % 2 ? <Mark char={piece} /> : piece))}
      {isCut && "…"}
    </bdi>
  );
}

function Mark({ char }: { char: string }) {
  if (char === "\n" || char === "\r" || char === "\t") return <>{char === "\t" ? " " : "\n"}</>;
  const code = (char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
  return <span class="mark">U+{code}</span>;
}

/** A person's name, or that there is none. */
export function Person({ name, short = false }: { name: PersonName; short?: boolean }) {
  const written = personName(name);
  return written ? <Text value={written} short={short} /> : <span class="faint">{strings.parts.noName}</span>;
}

/** Text, or that there is none. */
export function Value({ value, short = false }: { value: string; short?: boolean }) {
  return value ? <Text value={value} short={short} /> : <span class="faint">{strings.parts.none}</span>;
}
