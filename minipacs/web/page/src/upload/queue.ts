import { signal } from "@preact/signals";

/** How far an upload has come, as text; null while there is none. */
export const uploadShare = signal<string | null>(null);
