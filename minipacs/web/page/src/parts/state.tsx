import type { ComponentChildren } from "preact";

import type { Problem } from "../api/client";
import { strings } from "../strings";
import { Button } from "./button";
import { Icon, type IconName } from "./icons";

/** That something is on its way. */
export function Loading({ words = strings.parts.loading }: { words?: string }) {
  return (
    <div class="loading" role="status">
      <div class="spinner" />
      {words}
    </div>
  );
}

interface EmptyProps {
  icon: IconName;
  title: string;
  /** It is all that the screen says. */
  isAll?: boolean;
  children?: ComponentChildren;
}

/** That there is nothing, and what one can do about it. */
export function Empty({ icon, title, isAll = false, children }: EmptyProps) {
  return (
    <div class="empty">
      <Icon name={icon} size={32} />
      {isAll ? <h1>{title}</h1> : <h2>{title}</h2>}
      {children}
    </div>
  );
}

/** What went wrong, in the archive's own words, with the id that its log has. */
export function Trouble({ problem, onRetry }: { problem: Problem; onRetry?: () => void }) {
  return (
    <div class="note bad" role="alert">
      <strong>{problem.words}</strong>
      {problem.id && <span class="faint mono">{strings.parts.logId(problem.id)}</span>}
      {onRetry && (
        <div>
          <Button icon="again" onClick={onRetry}>
            {strings.parts.retry}
          </Button>
        </div>
      )}
    </div>
  );
}
