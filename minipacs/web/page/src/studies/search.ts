import type { Keys } from "../api/studies";
import { dateOf } from "../parts/format";

/** What the user asked for, as the page's address has it. */
export interface Search {
  /** What stands in the search box. */
  typed: string;
  /** Where its words are looked for; "" chooses by what is found. */
  by: Place | "";
  modality: string;
  /** The name of a span, or FROM-TO in digits. */
  days: string;
  sort: string;
}

export const PLACES = ["name", "id", "accession", "description"] as const;
export type Place = (typeof PLACES)[number];

export const MODALITIES =
  "CR CT DX ECG ES IO MG MR NM OCT OP OT PT PX RF RTDOSE RTIMAGE RTPLAN RTSTRUCT SC SEG SM SR US XA XC".split(" ");

export const SPANS: Record<string, () => string> = {
  today: () => dateOf(),
  yesterday: () => dateOf(-1),
  week: () => `${dateOf(-6)}-`,
  month: () => `${dateOf(-29)}-`,
  year: () => `${dateOf(-364)}-`,
};

const ORDERS: Record<string, string[]> = {
  name: ["PatientName", "PatientID", "StudyDate"],
  id: ["PatientID", "StudyDate"],
  date: ["StudyDate", "StudyTime"],
  description: ["StudyDescription", "StudyDate"],
  accession: ["AccessionNumber"],
};

const NEWEST_FIRST = new Set(["StudyDate"]);

export const USUAL_SORT = "-date";

/** A search in the terms of the archive: keys that are sure, and words that stand in one of the places. */
export interface Parsed {
  keys: Keys;
  words: string;
}

/** Take apart what was typed: dates, modalities and UIDs are known by their shape, all else are words. */
export function parse({ typed, modality, days }: Search): Parsed {
  const keys: Keys = {};
  const words: string[] = [];
  const modalities = modality ? [modality] : [];
  let span = spanOf(days);
  for (const word of typed.split(/\s+/).filter(Boolean)) {
    const range = rangeOf(word);
    if (range) span = range;
    else if (MODALITIES.includes(word) || (word.length === 2 && MODALITIES.includes(word.toUpperCase())))
      modalities.push(word.toUpperCase());
    else if (/^\d+(?:\.\d+){4,}$/.test(word)) keys.StudyInstanceUID = word;
    else words.push(word);
  }
  if (modalities.length) keys.ModalitiesInStudy = modalities;
  if (span) keys.StudyDate = span;
  return { keys, words: words.join(" ") };
}

/** Give the keys that look for words in a place. */
export function keysFor(words: string, place: Place): Keys {
  const safe = words.replace(/\\/g, "?");
  if (place === "name") {
    const parts = safe.split(/[\s,^]+/).filter(Boolean);
    // Several words may stand in any order, which only this kind of matching knows; for one it would cost for nothing.
    return {
      PatientName: parts.map((part) => `*${part}*`).join(" "),
      ...(parts.length > 1 && { fuzzymatching: "true" }),
    };
  }
  const keyword = { id: "PatientID", accession: "AccessionNumber", description: "StudyDescription" }[place];
  return { [keyword]: spellings(safe).map((text) => `*${text}*`) };
}

/** Give what `orderby` is to be: the first attribute as asked, those behind it newest first; the usual order is the archive's own. */
export function orderOf(sort: string): string[] {
  const name = sort.replace("-", "");
  const isDown = sort.startsWith("-");
  if (sort === USUAL_SORT) return [];
  return (ORDERS[name] ?? []).map((keyword, i) =>
    (i === 0 || name === "date" ? isDown : NEWEST_FIRST.has(keyword)) ? `-${keyword}` : keyword,
  );
}

/** Values other than names are matched by case: these are the usual ways to write one. */
function spellings(text: string): string[] {
  const lower = text.toLocaleLowerCase();
  const title = lower.replace(/(^|\s)\S/g, (start) => start.toLocaleUpperCase());
  const first = lower.replace(/\S/, (start) => start.toLocaleUpperCase());
  return [...new Set([text, text.toLocaleUpperCase(), lower, title, first])];
}

function spanOf(days: string): string {
  return SPANS[days]?.() ?? (/^\d{8}-(?:\d{8})?$|^-\d{8}$/.test(days) ? days : "");
}

/** Read a year, month or day, or two with two dots between them, as a range of DICOM. */
function rangeOf(word: string): string {
  const [from = "", to = from, more] = word.split("..");
  const [first, last] = [dayOf(from, "0101"), dayOf(to, "1231")];
  if (more !== undefined || !first || !last) return "";
  return first === last ? first : `${first}-${last}`;
}

function dayOf(text: string, rest: string): string {
  const parts = /^((?:19|20)\d\d)(?:-?(0[1-9]|1[0-2])(?:-?(0[1-9]|[12]\d|3[01]))?)?$/.exec(text);
  if (!parts) return "";
  const [, year = "", month = rest.slice(0, 2), date = rest.slice(2)] = parts;
  return year + month + date;
}
