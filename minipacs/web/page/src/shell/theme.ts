import { effect, signal } from "@preact/signals";

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const KEY = "minipacs.theme";

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const systemIsDark = signal(prefersDark.matches);
prefersDark.addEventListener("change", () => (systemIsDark.value = prefersDark.matches));

export const theme = signal<Theme>(kept());

/** Keep the page in the theme that was chosen, this time and the next. */
export function followTheme(): void {
  effect(() => {
    const isDark = theme.value === "dark" || (theme.value === "system" && systemIsDark.value);
    document.documentElement.dataset.look = isDark ? "dark" : "light";
  });
  effect(() => {
    try {
      localStorage.setItem(KEY, theme.value);
    } catch {
      // Browsers may forbid storage: the choice then lasts as long as the page.
    }
  });
}

function kept(): Theme {
  try {
    return THEMES.find((name) => name === localStorage.getItem(KEY)) ?? "system";
  } catch {
    return "system";
  }
}
