import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useState } from "preact/hooks";

const BEYOND_ROWS = 8;

/** Which rows of a long list can be seen, of so many of one height in px. */
export interface Window {
  first: number;
  last: number;
  height: number;
}

/** Follow how a list is scrolled; some rows beyond what is seen are drawn as well. */
export function useWindow(box: RefObject<HTMLElement | null>, rowHeight: number): Window {
  const [place, setPlace] = useState({ top: 0, height: 600 });
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const look = () => setPlace({ top: element.scrollTop, height: element.clientHeight });
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    look();
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);
  return {
    first: Math.max(0, Math.floor(place.top / rowHeight) - BEYOND_ROWS),
    last: Math.ceil((place.top + place.height) / rowHeight) + BEYOND_ROWS,
    height: place.height,
  };
}

/** Follow a media query. */
export function useMedia(query: string): boolean {
  const [matches, setMatches] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const look = () => setMatches(media.matches);
    look();
    media.addEventListener("change", look);
    return () => media.removeEventListener("change", look);
  }, [query]);
  return matches;
}
