import type { ComponentType } from "preact";

import { bad, good, type Result } from "../api/client";
import { useLoaded } from "../parts/loaded";
import { Loading, Trouble } from "../parts/state";
import { strings } from "../strings";

interface ViewerProps {
  study: string;
  series?: string;
  instance?: string;
}

type ViewerModule = { default: ComponentType<ViewerProps> };

/** The viewer is a bundle of its own, fetched when it is first used. */
const parts = import.meta.glob<ViewerModule>("../viewer/index.tsx");

/** The viewer, once it is there. */
export function ViewerFrame({
  study,
  series,
  instance,
}: {
  study: string;
  series: string | undefined;
  instance: string | undefined;
}) {
  const { value, problem, again } = useLoaded(fetchViewer, "viewer");
  if (problem) return <Trouble problem={problem} onRetry={again} />;
  if (!value) return <Loading />;
  const Viewer = value.default;
  return <Viewer study={study} {...(series && { series })} {...(instance && { instance })} />;
}

async function fetchViewer(): Promise<Result<ViewerModule>> {
  const load = Object.values(parts)[0];
  if (!load) return bad(0, strings.shell.viewerMissing);
  try {
    return good(await load());
  } catch {
    return bad(0, strings.api.unreachable);
  }
}
