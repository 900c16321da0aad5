import type { PersonName } from "../api/dicom";

const locales = [...navigator.languages];

const dayFormat = new Intl.DateTimeFormat(locales, {
  year: "numeric",
  month: "short",
  day: "2-digit",
  timeZone: "UTC",
});
const timeFormat = new Intl.DateTimeFormat(locales, { hour: "2-digit", minute: "2-digit", timeZone: "UTC" });
const momentFormat = new Intl.DateTimeFormat(locales, { dateStyle: "medium", timeStyle: "medium" });
const clockFormat = new Intl.DateTimeFormat(locales, { dateStyle: "short", timeStyle: "short" });
const numberFormat = new Intl.NumberFormat(locales);
const relativeFormat = new Intl.RelativeTimeFormat(locales, { numeric: "auto" });

const BYTE_UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte", "petabyte"];
const WRITES_IDEOGRAMS = /^(?:ja|zh|ko)\b/;

/** Write a number. */
export function number(value: number): string {
  return numberFormat.format(value);
}

/** Write a size, three digits at most. */
export function bytes(value: number): string {
  const step = value > 0 ? Math.min(Math.floor(Math.log10(value) / 3), BYTE_UNITS.length - 1) : 0;
  const unit = BYTE_UNITS[step] ?? "byte";
  const options = { style: "unit", unit, unitDisplay: step ? "short" : "long", maximumSignificantDigits: 3 } as const;
  return new Intl.NumberFormat(locales, options).format(value / 1000 ** step);
}

/** Write a date of DICOM (DA), in its own digits where it is none. */
export function day(value: string): string {
  const parts = /^(\d{4})\.?(\d{2})\.?(\d{2})$/.exec(value.trim());
  if (!parts) return value.trim();
  const [year, month, date] = parts.slice(1).map(Number) as [number, number, number];
  const found = new Date(0);
  found.setUTCFullYear(year, month - 1, date);
  return found.getUTCMonth() === month - 1 && found.getUTCDate() === date ? dayFormat.format(found) : value.trim();
}

/** Write a time of DICOM (TM) to the minute, in its own digits where it is none. */
export function clock(value: string): string {
  const parts = /^(\d{2}):?(\d{2})?/.exec(value.trim());
  if (!parts || Number(parts[1]) > 23 || Number(parts[2] ?? 0) > 59) return value.trim();
  return timeFormat.format(new Date(Date.UTC(2000, 0, 1, Number(parts[1]), Number(parts[2] ?? 0))));
}

/** Write a moment (ISO 8601) to the second. */
export function moment(value: string): string {
  const found = new Date(value);
  return Number.isNaN(found.getTime()) ? value : momentFormat.format(found);
}

/** Write a moment (ISO 8601) as short as a column has room for. */
export function shortMoment(value: string): string {
  const found = new Date(value);
  return Number.isNaN(found.getTime()) ? value : clockFormat.format(found);
}

/** Write how long ago a moment is, or how soon it comes. */
export function ago(value: string, now = Date.now()): string {
  const seconds = (new Date(value).getTime() - now) / 1000;
  if (Number.isNaN(seconds)) return value;
  const steps: [number, Intl.RelativeTimeFormatUnit][] = [
    [60, "second"],
    [3600, "minute"],
    [86400, "hour"],
  ];
  let size = 1;
  for (const [limit, unit] of steps) {
    if (Math.abs(seconds) < limit) return relativeFormat.format(Math.round(seconds / size), unit);
    size = limit;
  }
  return relativeFormat.format(Math.round(seconds / size), "day");
}

/** Write a duration in seconds. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const units: [number, string][] = hours
    ? [
        [hours, "hour"],
        [minutes, "minute"],
      ]
    : [
        [minutes, "minute"],
        [rest, "second"],
      ];
  const written = units.filter(([value], i) => value || i === 1);
  return written
    .map(([value, unit]) =>
      new Intl.NumberFormat(locales, { style: "unit", unit, unitDisplay: "narrow" }).format(value),
    )
    .join(" ");
}

/** Give the order of names in this locale, numbers within them by value. */
export const compare = new Intl.Collator(locales, { numeric: true }).compare;

/** Write a person's name: family name first, the group that the reader's language writes before the others. */
export function personName(name: PersonName): string {
  const alphabetic = group(name.Alphabetic ?? "");
  const ideographic = group(name.Ideographic ?? "", " ");
  const groups = WRITES_IDEOGRAMS.test(locales[0] ?? "") ? [ideographic, alphabetic] : [alphabetic, ideographic];
  const [first, second] = groups.filter(Boolean);
  return first && second ? `${first} (${second})` : (first ?? group(name.Phonetic ?? "", " "));
}

function group(text: string, comma = ", "): string {
  const [family = "", given = "", middle = "", prefix = "", suffix = ""] = text.split("^").map((part) => part.trim());
  const rest = [prefix, given, middle].filter(Boolean).join(" ");
  return [[family, rest].filter(Boolean).join(comma), suffix].filter(Boolean).join(", ");
}

/** Write today's date, or one so many days away, as DICOM does (DA), by the browser's calendar. */
export function dateOf(offsetDays = 0): string {
  const found = new Date();
  found.setDate(found.getDate() + offsetDays);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${found.getFullYear()}${two(found.getMonth() + 1)}${two(found.getDate())}`;
}
