import { useCallback, useEffect, useState } from "preact/hooks";

import type { Problem, Result } from "../api/client";

/** What was asked for: not there yet, there, or why it is not. The last value stays while it is asked for again. */
export interface Loaded<T> {
  value: T | null;
  problem: Problem | null;
  isLoading: boolean;
  again: () => void;
}

/** Ask when the part is shown, when `key` changes and, with `everyMs`, again and again while the page can be seen. */
export function useLoaded<T>(read: (signal: AbortSignal) => Promise<Result<T>>, key: string, everyMs = 0): Loaded<T> {
  const [state, setState] = useState<{ key: string; value: T | null; problem: Problem | null; isLoading: boolean }>({
    key,
    value: null,
    problem: null,
    isLoading: true,
  });
  const [round, setRound] = useState(0);
  const again = useCallback(() => setRound((n) => n + 1), []);
  useEffect(() => {
    const call = new AbortController();
    setState((old) => ({ key, value: old.key === key ? old.value : null, problem: null, isLoading: true }));
    void read(call.signal).then((answer) => {
      if (call.signal.aborted) return;
      if (answer.ok) setState({ key, value: answer.value, problem: null, isLoading: false });
      else setState((old) => ({ ...old, problem: answer.problem, isLoading: false }));
    });
    return () => call.abort();
  }, [key, round]);
  useEffect(() => {
    if (!everyMs) return undefined;
    const timer = setInterval(() => document.visibilityState === "visible" && again(), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return { value: state.key === key ? state.value : null, problem: state.problem, isLoading: state.isLoading, again };
}
