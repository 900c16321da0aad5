/** Outlines on a grid of 16 units, drawn for this page. */
const SHAPES = {
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10Zm3.6-1.4L14 14",
  close: "M3.5 3.5l9 9m0-9-9 9",
  up: "M3.5 10 8 5.5l4.5 4.5",
  down: "M3.5 6 8 10.5 12.5 6",
  left: "M10 3.5 5.5 8l4.5 4.5",
  right: "M6 3.5 10.5 8 6 12.5",
  view: "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8Zm6.5 2a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  download: "M8 2v8m-3.5-3L8 10.5 11.5 7M2.5 13.5h11",
  upload: "M8 10.5v-8M4.5 5.5 8 2l3.5 3.5M2.5 13.5h11",
  send: "M14 2 2 7l5 2 2 5 5-12Zm0 0L7 9",
  remove: "M2.5 4h11M6 4V2.5h4V4m-6 0 .7 9.5h6.6L12 4M6.5 6.5v4.5m3-4.5v4.5",
  link: "M6.5 9.5l3-3M7 4.5l1.5-1.5a3.2 3.2 0 0 1 4.5 4.5L11.5 9M9 11.5 7.5 13A3.2 3.2 0 0 1 3 8.5L4.5 7",
  outside: "M9 2.5h4.5V7m0-4.5L7.5 8.5M6.5 3.5h-4v10h10v-4",
  light: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6Zm0-10v1.5m0 11V15M1 8h1.5m11 0H15M3 3l1 1m8 8 1 1m0-10-1 1m-8 8-1 1",
  dark: "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7Z",
  system: "M2 3h12v8H2Zm4 11h4m-2-3v3",
  person: "M8 8a3 3 0 1 0 0-6 3 3 0 0 0 0 6Zm-5.5 6a5.5 5.5 0 0 1 11 0",
  pause: "M5 3v10m6-10v10",
  play: "M4.5 2.5v11L13 8Z",
  again: "M13 8a5 5 0 1 1-1.5-3.6M13 2v3h-3",
  add: "M8 3v10M3 8h10",
  folder: "M1.5 4V13h13V5H8L6.5 3h-5Z",
  file: "M3.5 1.5h6l3 3v10h-9ZM9 1.5V5h3.5",
  keys: "M1.5 4h13v8h-13Zm2.5 2.5h.01m2.7 0h.01m2.7 0h.01M4.5 9.5h7",
  list: "M5.5 4h8m-8 4h8m-8 4h8M2.5 4h.01M2.5 8h.01M2.5 12h.01",
  pulse: "M1.5 8.5h3l2-5 3 9 2-4h3",
  warning: "M8 2 1.5 13.5h13Zm0 4.5v3.5m0 1.6v.1",
} as const;

export type IconName = keyof typeof SHAPES;

/** A small picture beside words; it says nothing of its own. */
export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      stroke-width="1.5"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d={SHAPES[name]} />
    </svg>
  );
}
