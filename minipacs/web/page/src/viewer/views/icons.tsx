/** Outlines on a grid of 16 units. */
const SHAPES = {
  window: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2Zm0 0v12M8 4.5h3.4M8 7h5M8 9.5h4.8M8 12h3",
  scroll: "M3 3h10v3H3Zm0 5h10M3 11h10M3 14h10",
  pan: "M8 1.5v13M1.5 8h13M8 1.5 6.3 3.2M8 1.5l1.7 1.7M8 14.5l-1.7-1.7M8 14.5l1.7-1.7M1.5 8l1.7-1.7M1.5 8l1.7 1.7M14.5 8l-1.7-1.7M14.5 8l-1.7 1.7",
  zoom: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10Zm3.6-1.4L14 14M5 7h4M7 5v4",
  rotate: "M13 8a5 5 0 1 1-1.5-3.6M13 2v3h-3",
  length: "M2.5 11 11 2.5 13.5 5 5 13.5Zm2-2 1.2 1.2M7 6.5l1.7 1.7M9.2 4.3l1.2 1.2",
  angle: "M13.5 13h-11L10 2.5M6 8.2A5 5 0 0 1 8.5 13",
  turnLeft: "M4.5 3.5 2 6l2.5 2.5M2 6h7a4 4 0 0 1 4 4v3",
  turnRight: "M11.5 3.5 14 6l-2.5 2.5M14 6H7a4 4 0 0 0-4 4v3",
  flipHorizontal: "M8 1.5v13M6 4 1.5 12H6Zm4 0 4.5 8H10Z",
  flipVertical: "M1.5 8h13M4 6 12 1.5V6Zm0 4 8 4.5V10Z",
  invert: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2Zm0 0v12M8 5l-3.5 3.5M8 9l-2.5 2.5",
  fit: "M2 5.5V2h3.5M10.5 2H14v3.5M14 10.5V14h-3.5M5.5 14H2v-3.5",
  actualSize: "M3.5 5 5 4v8M11 5l1.5-1v8M8.5 6.5v.1M8.5 10v.1",
  smooth: "M1.5 11c3 0 3-6 6.5-6s3.5 6 6.500 6",
  reset: "M3 8a5 5 0 1 0 1.500-3.600M3 2v3h3",
  play: "M4.500 2.500v11L13 8Z",
  pause: "M5 3v10m6-10v10",
  cube: "M8 1.500 14 4.800v6.400L8 14.500 2 11.200V4.800ZM2 4.800 8 8l6-3.200M8 8v6.500",
  lines: "M2 4.500h12M2 11.500 14 7",
  chain:
    "M6.500 9.500l3-3M7 4.500l1.500-1.500a3.200 3.200 0 0 1 4.500 4.500L11.500 9M9 11.500 7.500 13A3.200 3.200 0 0 1 3 8.500L4.500 7",
  words: "M3 3.500h10M8 3.500v9.500M6 13h4",
  panel: "M2 3h12v10H2Zm8 0v10",
  keys: "M1.500 4h13v8h-13Zm2.500 2.500h.01m2.700 0h.01m2.700 0h.01M4.500 9.500h7",
  remove: "M2.500 4h11M6 4V2.500h4V4m-6 0 .7 9.500h6.600L12 4",
  one: "M2 3h12v10H2Z",
  beside: "M2 3h12v10H2Zm6 0v10",
  above: "M2 3h12v10H2Zm0 5h12",
  three: "M2 3h12v10H2Zm4 0v10m4-10v10",
  four: "M2 3h12v10H2Zm6 0v10M2 8h12",
} as const;

export type IconName = keyof typeof SHAPES;

interface ToolButtonProps {
  icon: IconName;
  label: string;
  hint?: string;
  isOn?: boolean;
  isDisabled?: boolean;
  onClick: () => void;
}

/** A button that shows a picture alone; what it is called is told to who cannot see it, and under the pointer. */
export function ToolButton({ icon, label, hint, isOn, isDisabled, onClick }: ToolButtonProps) {
  return (
    <button
      type="button"
      class="viewer-button"
      title={hint ? `${label} (${hint})` : label}
      aria-label={label}
      aria-keyshortcuts={hint}
      aria-pressed={isOn}
      disabled={isDisabled}
      onClick={onClick}
    >
      <svg
        width="18"
        height="18"
        viewBox="0 0 16 16"
        fill="none"
        stroke="currentColor"
        stroke-width="1.4"
        stroke-linecap="round"
        stroke-linejoin="round"
        aria-hidden="true"
      >
        <path d={SHAPES[icon]} />
      </svg>
    </button>
  );
}
