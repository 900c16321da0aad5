import type { ComponentType } from "preact";

import { link, route } from "../shell/route";
import { strings } from "../strings";
import { Associations } from "./associations";
import { Conflicts } from "./conflicts";
import { Overview } from "./overview";
import { Quarantine } from "./quarantine";
import { Queue } from "./queue";
import "./operations.css";

const words = strings.operations;

/** The parts of this screen, in the order of their links. */
const PARTS: Record<keyof typeof words.parts, ComponentType> = {
  overview: Overview,
  associations: Associations,
  queue: Queue,
  conflicts: Conflicts,
  quarantine: Quarantine,
};

const NAMES = Object.keys(PARTS) as (keyof typeof PARTS)[];

/** What an administrator looks at. */
export function Operations() {
  const asked = route.value.path[1];
  const name = NAMES.find((one) => one === asked) ?? "overview";
  const Part = PARTS[name];
  return (
    <div class="screen">
      <div class="top">
        <h1>{words.title}</h1>
      </div>
      <nav class="tabs" aria-label={words.title}>
        {NAMES.map((one) => (
          <a href={link(["operations", one])} aria-current={one === name ? "page" : undefined}>
            {words.parts[one]}
          </a>
        ))}
      </nav>
      <Part key={name} />
    </div>
  );
}
