/** Reading of data sets in the DICOM JSON model (PS3.18 F). */

export interface Element {
  vr: string;
  Value?: unknown[];
  InlineBinary?: string;
  BulkDataURI?: string;
}

export type DataSet = Readonly<Record<string, Element>>;

/** Values of an element as text; person names as their component groups, joined by "=". */
export function texts(dataSet: DataSet | undefined, tag: string): string[] {
  return (dataSet?.[tag]?.Value ?? []).map(asText);
}

export function text(dataSet: DataSet | undefined, tag: string): string {
  return texts(dataSet, tag)[0] ?? "";
}

/** Values of an element as numbers, without those that are none. */
export function numbers(dataSet: DataSet | undefined, tag: string): number[] {
  return (dataSet?.[tag]?.Value ?? [])
    .map((value) =>
      typeof value === "number" ? value : typeof value === "string" && value.trim() ? Number(value) : NaN,
    )
    .filter(Number.isFinite);
}

export function number(dataSet: DataSet | undefined, tag: string): number | undefined {
  return numbers(dataSet, tag)[0];
}

export function items(dataSet: DataSet | undefined, tag: string): DataSet[] {
  const value = dataSet?.[tag]?.Value ?? [];
  return value.filter((item): item is DataSet => typeof item === "object" && item !== null);
}

export function has(dataSet: DataSet | undefined, tag: string): boolean {
  const element = dataSet?.[tag];
  return (
    element !== undefined &&
    (element.Value !== undefined || element.InlineBinary !== undefined || element.BulkDataURI !== undefined)
  );
}

/** What a code stands for: its meaning, else its value. */
export function meaning(dataSet: DataSet | undefined, tag: string): string {
  const code = items(dataSet, tag)[0];
  return text(code, CODE_MEANING) || text(code, CODE_VALUE);
}

const CODE_VALUE = "00080100";
const CODE_MEANING = "00080104";

function asText(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(value);
  if (typeof value !== "object" || value === null) return "";
  const groups = value as Record<string, unknown>;
  const named = [groups.Alphabetic, groups.Ideographic, groups.Phonetic].map((group) =>
    typeof group === "string" ? group : "",
  );
  return named.join("=").replace(/=+$/, "");
}

/** Bytes of base64. */
export function fromBase64(encoded: string): Uint8Array<ArrayBuffer> {
  const binary = atob(encoded);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
